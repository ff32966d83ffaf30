"""Weights & Biases tracker: one run in the project named after the suite.

Its environment variables set the options (``WANDB_PROJECT``, ``WANDB_MODE=offline`` ...). Every value is
logged against ``forwards``, the number of forward passes spent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from zobench.trackers.base import TrackedRun, Tracker


class WandbTracker(Tracker):
    """Runs are grouped by leaderboard row; a resumed run continues under the same id."""

    requires = ("wandb",)
    install = "pip install 'zobench[wandb]'"

    def run_started(self, run: TrackedRun) -> None:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", run.suite),
            id=run.run_id,
            resume="allow",
            name=run.title,
            group=run.row,
            job_type=run.purpose,
            dir=str(self.folder),
            config=dict(run.spec),
        )
        self._run.define_metric("*", step_metric="forwards")

    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        named = {f"train/{name}": value for name, value in values.items()}
        self._run.log({"forwards": forwards, **named})

    def metric(self, forwards: int, name: str, value: float) -> None:
        self._run.log({"forwards": forwards, name: value})

    def finished(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status in ("done", "diverged", "budget") else 1)
