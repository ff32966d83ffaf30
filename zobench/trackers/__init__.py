"""Optional sinks for the progress of runs: TensorBoard, Weights & Biases, MLflow, and plugins.

A suite names them (``trackers: [tensorboard]``); they are not part of a run's identity. Nothing of them is
imported until a run starts, and what goes wrong in one never harms the run. The contract is
:class:`zobench.trackers.base.Tracker`, the entry-point group ``zobench.trackers``.
"""
