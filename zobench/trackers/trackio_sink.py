"""Trackio tracker: one run in the project named after the suite, in Trackio's local database.

Its environment variables set where that is (``TRACKIO_DIR``, ``TRACKIO_SPACE_ID`` ...), and
``TRACKIO_PROJECT`` another project. The step of every value is the number of forward passes spent; show them
with ``trackio show``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from zobench.trackers.base import TrackedRun, Tracker


class TrackioTracker(Tracker):
    """Runs are grouped by leaderboard row; a resumed run continues under the same name."""

    requires = ("trackio",)
    install = "pip install 'zobench[trackio]'"

    def run_started(self, run: TrackedRun) -> None:
        import trackio

        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", run.suite),
            # Trackio resumes by name, and titles of runs with different parameters are the same.
            name=f"{run.title} ({run.run_id})",
            group=run.row,
            config=dict(run.spec),
            resume="allow",
            embed=False,
        )

    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        self._run.log({f"train/{name}": value for name, value in values.items()}, step=forwards)

    def metric(self, forwards: int, name: str, value: float) -> None:
        self._run.log({name: value}, step=forwards)

    def finished(self, status: str) -> None:
        self._run.log({"finished": float(status in ("done", "diverged", "budget"))})
        self._run.finish()
