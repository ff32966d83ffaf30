"""The tracker interface: callbacks at the start of a run, at each step, for each metric, and at the end.

One tracker is created per run, in the process that executes it, and receives only that run's events. It is a
plugin: a class with these methods in the entry-point group ``zobench.trackers``. Its module must be
importable without the package it writes to, which is imported when the run starts. ``requires`` names that
package, so that a suite naming the tracker is refused before anything runs if the package is missing.

An exception in a tracker is reported once and ends the tracking of that run, but not the run.
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
    """Data about a run for its tracker.

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
    """Base class of trackers. ``folder`` is the results folder, for trackers that write files.

    Class attributes: ``requires`` names the importable packages that the tracker needs; ``install`` is the
    hint shown if one is missing.
    """

    requires: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def run_started(self, run: TrackedRun) -> None:
        """The run starts, or resumes from its checkpoint (then steps after the checkpoint are sent again)."""

    @abstractmethod
    def step(self, forwards: int, values: Mapping[str, float]) -> None:
        """One optimizer step, with ``loss`` and ``lr``, after ``forwards`` forward passes in total."""

    @abstractmethod
    def metric(self, forwards: int, name: str, value: float) -> None:
        """One measured number, for instance ``test/accuracy`` or ``attack/char-typos/accuracy``."""

    @abstractmethod
    def finished(self, status: str) -> None:
        """The run ended with this status of the store; no further calls follow."""


def missing_package(tracker: type[Tracker]) -> str:
    """The reason why this tracker cannot be used here; empty if its packages can be imported."""
    for name in tracker.requires:
        if importlib.util.find_spec(name) is None:
            hint = f": {tracker.install}" if tracker.install else ""
            return f"needs the package {name!r}, which is not installed{hint}"
    return ""
