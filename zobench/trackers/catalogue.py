"""Names of the built-in trackers; importing this imports no tracker's package."""

TRACKERS = {
    "mlflow": "zobench.trackers.mlflow_sink:MlflowTracker",
    "tensorboard": "zobench.trackers.tensorboard_sink:TensorBoardTracker",
    "trackio": "zobench.trackers.trackio_sink:TrackioTracker",
    "wandb": "zobench.trackers.wandb_sink:WandbTracker",
}
