"""What a tracker is: called when a run starts, at each step, for each metric, and at the end.

One tracker is created per run, in the process that executes it, and receives that run's events only. It is a
plugin: a class with these methods behind the entry-point group ``zobench.trackers``. Its module must be
importable without the package it writes to, which is imported when the run starts; ``requires`` names that
package, so that a suite which asks for it where it is missing is refused before anything runs.

What a tracker raises is shown once and ends the tracking of that run, never the run.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker receives about its run.

    Attributes:
        run_id: 20 hexadecimal digits; the same for a run that is resumed.
        suite, row, group, task, model, method: names for display.
        seed: the run's seed.
        purpose: ``result`` or ``tuning``.
        spec: the resolved specification as plain JSON values.
    """

    run_id: str
    suite: str
    row: str
    group: str
    task: str
    model: str
    method: str
    seed: int
    purpose: str
    spec: Mapping[str, Any]

    @property
    def title(self) -> str:
        """``mezo on nano-sentiment, seed 0``."""
        return f"{self.row} on {self.task}, seed {self.seed}"


class Tracker(ABC):
    """One run's sink. ``folder`` is the results folder, for trackers that write files.

    Class attributes: ``requires`` names the importable packages that the tracker needs; ``install`` is what
    to say where one is missing.
    """

    requires: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def run_started(self, run: TrackedRun) -> None:
        """The run starts, or resumes from its checkpoint (then its latest steps are sent again)."""

    @abstractmethod
    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        """One optimizer step ended at ``forwards`` forwards spent: ``loss`` and ``lr``."""

    @abstractmethod
    def metric(self, forwards: int, name: str, value: float) -> None:
        """One measured number, for instance ``test/accuracy`` or ``attack/char-typos/accuracy``."""

    @abstractmethod
    def finished(self, status: str) -> None:
        """The run is over, with a status of the store; nothing follows."""


def missing_package(tracker: type[Tracker]) -> str:
    """Why this tracker cannot work here; empty where its packages can be imported."""
    for name in tracker.requires:
        if importlib.util.find_spec(name) is None:
            hint = f": {tracker.install}" if tracker.install else ""
            return f"needs the package {name!r}, which is not installed{hint}"
    return ""
