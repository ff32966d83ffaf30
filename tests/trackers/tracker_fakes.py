"""Trackers of a plugin: one that remembers, one that fails, one whose package is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from zobench.trackers.base import TrackedRun, Tracker


class Heard(Tracker):
    """Remembers every call in order."""

    calls: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls.append(("made", folder))

    def run_started(self, run: TrackedRun) -> None:
        self.calls.append(("started", run))

    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        self.calls.append(("step", forwards, dict(values)))

    def metric(self, forwards: int, name: str, value: float) -> None:
        self.calls.append(("metric", forwards, name, value))

    def finished(self, status: str) -> None:
        self.calls.append(("finished", status))


class Clumsy(Heard):
    """Fails at its third step."""

    steps: ClassVar[int] = 0

    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        Clumsy.steps += 1
        if Clumsy.steps == 3:
            raise ConnectionError("the server is gone")

    def metric(self, forwards: int, name: str, value: float) -> None:
        if Clumsy.steps >= 3:
            Clumsy.steps = -1


class Lacking(Heard):
    """Writes to a package that nobody has."""

    requires = ("no_such_package_at_all",)
    install = "pip install it"
