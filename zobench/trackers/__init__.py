"""Optional trackers of the progress of runs: TensorBoard, Weights & Biases, MLflow, Trackio, and
plugins.

A suite names them (``trackers: [tensorboard]``); they are not part of a run's identity. Their packages are
imported only when a run starts, and an error in a tracker never affects the run. Plugins implement
:class:`zobench.trackers.base.Tracker` and register in the entry-point group ``zobench.trackers``.
"""
