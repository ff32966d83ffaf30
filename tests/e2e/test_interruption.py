"""A run that is killed at random moments and restarted has results bit-identical to an uninterrupted run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2e.conftest import Command
from e2e.results import assert_same


def progress(output: Path) -> int:
    """Steps logged by unfinished runs, and a thousand for each finished one."""
    logged = sum(p.read_bytes().count(b"\n") for p in output.glob("runs/*/steps.jsonl"))
    return logged + 1000 * len(list(output.glob("runs/*/status.json")))


def killed_at(target: int, suite: Path, output: Path, *, cwd: Path) -> bool:
    """Start the suite, send SIGKILL to its process group at this progress; whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zobench.cli", "run", str(suite), "--output", str(output)],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and progress(output) < target:
        time.sleep(0.01)
    ended = process.poll() is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return not ended


def check_kills(suite: Path, zobench: Command, tmp_path: Path, *, steps: int, kills: int) -> None:
    """Kill at progress drawn from a fixed random stream, then finish, and compare with a run left alone."""
    assert zobench("run", suite, "--output", "whole").returncode == 0
    draw = random.Random(kills)
    targets = sorted(1000 * draw.randrange(2) + draw.randrange(1, steps) for _ in range(kills))
    killed = [killed_at(target, suite, tmp_path / "cut", cwd=tmp_path) for target in targets]
    assert any(killed)
    assert zobench("run", suite, "--output", "cut").returncode == 0
    assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_killed_twice(suite: Path, zobench: Command, tmp_path: Path) -> None:
    check_kills(suite, zobench, tmp_path, steps=18, kills=2)


IMAGES = """
suite: images
models: {cnn: {name: "builtin:nano-cnn", head: 5}}
tasks: {mnist-5k: {params: {classes: [5, 6, 7, 8, 9], k: 20, validation_k: 5, test_rows: 20}}}
attacks: {square: {params: {budget: 4}}}
methods: {mezo: {params: {lr: 1e-3}}}
seeds: [1, 2]
budget: {forwards: 60, batch_size: 8}
evaluation: {at: [0, 30], test_items: 20, attack_items: 5}
checkpoint: {every_steps: 5}
executor: {kind: inline}
"""


@pytest.mark.slow
def test_runs_on_images_killed_twice(zobench: Command, tmp_path: Path) -> None:
    suite = tmp_path / "images.yaml"
    suite.write_text(IMAGES, encoding="utf-8")
    check_kills(suite, zobench, tmp_path, steps=30, kills=2)


@pytest.mark.slow
def test_killed_twenty_times_with_two_workers(suite: Path, zobench: Command, tmp_path: Path) -> None:
    text = suite.read_text(encoding="utf-8")
    suite.write_text(
        text.replace("kind: inline", "kind: process, workers: 2").replace("forwards: 36", "forwards: 120"),
        encoding="utf-8",
    )
    check_kills(suite, zobench, tmp_path, steps=60, kills=20)


def test_interrupt_from_the_keyboard(suite: Path, zobench: Command, tmp_path: Path) -> None:
    """Ctrl-C ends with exit code 130 and a hint; the same command then finishes."""
    suite.write_text(
        suite.read_text(encoding="utf-8").replace("forwards: 36", "forwards: 400"), encoding="utf-8"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "zobench.cli", "run", str(suite), "--output", str(tmp_path / "out")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/runs/*/checkpoint*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "zobench run" in errors
    finished = zobench("run", suite, "--output", "out")
    assert finished.returncode == 0, finished.stderr
