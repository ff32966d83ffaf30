"""The runner tests' tiny parts, and a tracker behind an entry point."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runner"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from zobench import plugins


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points ``heard``, ``clumsy`` and ``lacking`` of the group ``zobench.trackers``."""
    names = {"heard": "Heard", "clumsy": "Clumsy", "lacking": "Lacking"}
    points = [
        metadata.EntryPoint(name, f"tracker_fakes:{target}", "zobench.trackers")
        for name, target in names.items()
    ]
    real = plugins.entry_points
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: points if group == "zobench.trackers" else real(group=group)
    )
