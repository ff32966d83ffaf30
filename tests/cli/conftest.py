"""The suite tests' fakes and fixtures, and a runner for the commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "suite"))

import suite_fakes


@pytest.fixture
def fake_catalogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods mezo, fzoo, none and others; two tasks; two attacks."""
    suite_fakes.install(monkeypatch)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands in process, in a terminal wide enough that nothing is wrapped."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    return CliRunner()
