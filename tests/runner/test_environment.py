"""The environment record describes the machine and contains nothing about the user."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
from pathlib import Path

import pytest

from zobench.runner.environment import (
    environment_record,
    git_state,
    level_note,
    peak_memory_bytes,
    reset_peak_memory,
)


def test_record_is_complete_and_anonymous():
    record = environment_record()
    text = json.dumps(record)
    assert {"zobench", "python", "cpu", "threads", "packages", "git_commit", "git_dirty"} <= record.keys()
    assert record["packages"]["torch"]
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert f'"{getpass.getuser()}"' not in text


def test_git_state_of_a_checkout_and_of_none(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    assert git_state(package) == (None, None)

    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    git("init", "-q")
    (package / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    commit, dirty = git_state(package)
    assert len(commit) == 40
    assert dirty is False
    (package / "a.py").write_text("2")
    assert git_state(package) == (commit, True)
    (package / "inner").mkdir()
    assert git_state(package / "inner") == (None, None)


def test_peak_memory_is_of_the_process():
    reset_peak_memory("cpu")
    before = peak_memory_bytes("cpu")
    block = bytearray(b"x" * 200_000_000)
    after = peak_memory_bytes("cpu")
    assert before is None or after - before > 100_000_000
    assert len(block) == 200_000_000


@pytest.mark.parametrize(
    ("noise", "level", "noted"), [("legacy", "OTHER", True), ("counter", "OTHER", False)]
)
def test_bits_that_depend_on_the_processor_are_told(make_run, noise: str, level: str, noted: bool) -> None:
    spec = make_run().spec.model_copy(update={"noise": noise})
    assert bool(level_note({"processor_level": level}, spec)) is noted
    assert level_note(environment_record(), spec) == ""


def test_a_gpu_that_is_not_there_is_no_error_of_the_record() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    reset_peak_memory("cuda")
    assert peak_memory_bytes("cuda:1") is None
    assert environment_record("cuda")["gpu"] is None
