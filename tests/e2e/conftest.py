"""A suite small enough for a test, on the built-in model, run by the real command in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SUITE = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {}
methods:
  mezo: {params: {lr: 2e-4}}
  zo-adam: {params: {lr: 2e-4}}
  zero-shot: {method: none, group: control}
attacks:
  char-typos: {}
seeds: [1]
budget: {forwards: 36, batch_size: 4}
evaluation: {at: [0, 18], test_items: 8, attack_items: 4}
checkpoint: {every_steps: 3}
executor: {kind: inline}
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The small suite as a file."""
    file = tmp_path / "small.yaml"
    file.write_text(SUITE, encoding="utf-8")
    return file


@pytest.fixture
def zobench(tmp_path: Path) -> Command:
    """``zobench ARGS`` in ``tmp_path``, with nothing inherited but the environment."""

    def call(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zobench.cli", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", **variables},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return call
