"""TensorBoard tracker: event files under ``tensorboard/`` in the results folder, one folder per run.

The horizontal axis is the number of forward passes spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zobench.trackers.base import TrackedRun, Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardTracker(Tracker):
    """Writes the scalars ``train/loss``, ``train/lr`` and the metrics, and the specification as text."""

    requires = ("tensorboard",)
    install = "pip install 'zobench[tensorboard]'"

    def run_started(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        parts = (run.row, run.task, f"seed-{run.seed}-{run.run_id[:8]}")
        place = self.folder / "tensorboard"
        for part in parts:
            place /= "".join(c if c.isalnum() or c in " ._=-" else "_" for c in part).strip(". ") or "_"
        self._writer: SummaryWriter = SummaryWriter(str(place))
        lines = (f"    {name}: {value}" for name, value in run.spec.items())
        self._writer.add_text("specification", "\n".join([run.title, "", *lines]))

    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, forwards)

    def metric(self, forwards: int, name: str, value: float) -> None:
        self._writer.add_scalar(name, value, forwards)

    def finished(self, status: str) -> None:
        self._writer.add_text("status", status)
        self._writer.close()
