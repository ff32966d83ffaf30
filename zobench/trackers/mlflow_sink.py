"""MLflow tracker: one MLflow run in the experiment named after the suite, with forward passes as steps.

``MLFLOW_TRACKING_URI`` sets the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zobench.trackers.base import TrackedRun, Tracker

_GOOD = ("done", "diverged", "budget")


class MlflowTracker(Tracker):
    """A resumed run becomes a second MLflow run with the same tag ``zobench.run_id``."""

    requires = ("mlflow",)
    install = "pip install 'zobench[mlflow]'"

    def run_started(self, run: TrackedRun) -> None:
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        found = self._client.get_experiment_by_name(run.suite)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(run.suite)
        tags = {"zobench.run_id": run.run_id, "zobench.row": run.row, "zobench.purpose": run.purpose}
        self._id = self._client.create_run(experiment, tags=tags, run_name=run.title).info.run_id
        for name in ("model", "task", "method", "group", "seed"):
            self._client.log_param(self._id, name, getattr(run, name))
        for name, value in run.spec["method"]["params"].items():
            self._client.log_param(self._id, f"method.{name}", value)

    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.metric(forwards, f"train/{name}", value)

    def metric(self, forwards: int, name: str, value: float) -> None:
        self._client.log_metric(self._id, name, value, step=forwards)

    def finished(self, status: str) -> None:
        self._client.set_tag(self._id, "zobench.status", status)
        self._client.set_terminated(self._id, "FINISHED" if status in _GOOD else "FAILED")
