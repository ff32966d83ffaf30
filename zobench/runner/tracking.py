"""Sends a run's events to its trackers, in the process that executes the run.

A tracker that raises is reported on standard error and receives no further events of this run; the run
continues."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.store.reader import read_run

if TYPE_CHECKING:
    from zobench.runner.jobs import Job
    from zobench.trackers.base import Tracker

Listener = Callable[[dict[str, Any]], None]


class Tracking:
    """The trackers of one run.

    Args:
        names: trackers of the suite; unknown ones and those that cannot be created are reported and skipped.
        runs: folder of the run folders; trackers write to its parent folder.
    """

    def __init__(self, names: Sequence[str], runs: Path, job: Job, run_id: str) -> None:
        self._runs, self._run_id = runs, run_id
        self._sinks: dict[str, Tracker] = {}
        for name in names:
            self._guarded(name, lambda n=name: self._open(n, job))  # type: ignore[misc]

    def _open(self, name: str, job: Job) -> None:
        from zobench.plugins import lookup
        from zobench.trackers.base import TrackedRun

        planned, spec = job.planned, job.planned.spec
        run = TrackedRun(
            run_id=self._run_id,
            suite=job.suite,
            row=planned.row,
            group=planned.group,
            task=spec.task.name,
            model=spec.model.name,
            method=spec.method.name,
            seed=spec.seed,
            purpose=spec.purpose,
            spec=spec.model_dump(mode="json"),
        )
        tracker: Tracker = lookup("trackers", name)(self._runs.parent)
        tracker.run_started(run)
        self._sinks[name] = tracker

    def listening(self, listener: Listener) -> Listener:
        """A listener that passes events to ``listener`` and to the trackers."""
        if not self._sinks:
            return listener

        def hear(event: dict[str, Any]) -> None:
            listener(event)
            if "loss" in event:
                values = {"loss": event["loss"], "lr": event["lr"]}
                self._each(lambda sink: sink.step(event["forwards"], values))
            for name, value in event.get("measured", {}).items():
                self._metric(event["at"], name, value)

        return hear

    def finished(self, status: str) -> None:
        """Send the final metrics, attacks included, and the status."""
        if not self._sinks:
            return
        tables = read_run(self._runs, self._run_id)
        for row in tables["metrics"].to_pylist() if "metrics" in tables else []:
            if row["final"] and row["value"] is not None:
                clean = row["condition_kind"] == "clean"
                place = row["split"] if clean else f"{row['condition_kind']}/{row['condition']}"
                self._metric(row["forwards"], f"{place}/{row['metric']}", row["value"])
        self._each(lambda sink: sink.finished(status))

    def _metric(self, forwards: int, name: str, value: float) -> None:
        self._each(lambda sink: sink.metric(forwards, name, value))

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for name, sink in list(self._sinks.items()):
            self._guarded(name, lambda s=sink: tell(s))  # type: ignore[misc]

    def _guarded(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tracker must not fail the run
            self._sinks.pop(name, None)
            print(f"tracker {name!r} is disabled for run {self._run_id}: {error!r}", file=sys.stderr)
