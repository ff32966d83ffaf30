"""Warnings, log messages and output of libraries are kept in the results folder and counted, from whichever
process they come."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zobench.runner.library_log import LibraryLog, heard, kept_messages, redirected
from zobench.runner.work_file import write_work
from zobench.spec import Component

NOISY = """
import logging, os, sys, warnings
import runner_fakes
from zobench.zo.methods.mezo import Mezo

def make_noise(who):
    warnings.warn(f"by warnings in {who}", stacklevel=1)
    logging.getLogger("a.library").warning(f"by logging in {who}")
    sys.stderr.write(f"by stderr in {who}\\n")
    os.write(2, f"by the descriptor in {who} \\x1b[31m\\n".encode())
    os.system(f"echo by a child in {who} >&2")

class NoisyTask(runner_fakes.CountTask):
    heard = False
    def _trouble(self):
        if not self.heard:
            self.heard = True
            make_noise("the task")
        super()._trouble()

class NoisyPlugin(Mezo):
    heard = False
    def step(self, objective):
        if not self.heard:
            self.heard = True
            make_noise("the plugin")
            print("by print in the plugin")
        return super().step(objective)

class Parts(runner_fakes.FakeParts):
    def task(self, component):
        return NoisyTask(super().task(component).config)

PARTS = Parts()
"""
DRIVER = """
import sys
from pathlib import Path
from zobench.runner import run_plan
from zobench.runner.work_file import read_work
folder, workers, messages = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
done = run_plan(read_work(folder), folder, parts="noisy:PARTS", workers=workers, messages=messages)
assert done.done == 3, done.failed
"""
WAYS = ("warnings", "logging", "stderr", "the descriptor", "a child")


@pytest.fixture
def driven(tmp_path: Path, make_run, make_plan):
    """Two runs of a noisy task, of which the second loses its first worker if it has one, and one of a noisy
    plugin: ``driven(workers, messages)`` -> (the process that ended, the log)."""
    site, folder = tmp_path / "site", tmp_path / "out"
    info = site / "noisy-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "noisy.py").write_text(NOISY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zobench.optimizers]\nnoisy = noisy:NoisyPlugin\n")
    (info / "RECORD").write_text("noisy.py,,\n")

    def drive(workers: int, messages: str):
        params = {"marker": str(tmp_path / "lost")} if workers else {}
        plugin = Component(name="noisy", params={"lr": 0.05, "epsilon": 1e-2})
        write_work(
            folder,
            make_plan(
                make_run(seed=0),
                make_run(seed=1, task=Component(name="count", params=params)),
                make_run("noisy", method=plugin),
                kind="process",
            ),
        )
        path = os.pathsep.join([str(site), str(Path(__file__).parent), *filter(None, sys.path)])
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(folder), str(workers), messages],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        logs = list(folder.glob("logs/*"))
        return done, "".join(log.read_text() for log in logs), logs

    return drive


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_nothing_is_lost_and_the_terminal_has_one_line(driven, workers: int) -> None:
    done, log, (file,) = driven(workers, "all")
    assert done.stderr == ""
    (line,) = [line for line in done.stdout.splitlines() if "messages of libraries" in line]
    assert line.endswith(f"in {file}")
    printed = [line for line in log.splitlines() if not line.startswith("== ")]
    assert f"{len(printed)} lines ({len(set(printed))} different)" in line
    for way in WAYS:
        assert f"by {way} in the task" in log
        assert f"by {way} in the plugin" in log
    assert "by print in the plugin" in log
    assert "\x1b" not in log
    # Once for each instance of the task: two in this process, one in each worker, also the one that died.
    assert log.count("by stderr in the task") == (4 if workers else 2)
    titles = [line for line in log.splitlines() if line.startswith("== ")]
    assert sorted(set(titles)) == [
        "== mezo on count, tiny, seed 0",
        "== mezo on count, tiny, seed 1",
        "== noisy on count, tiny, seed 0",
    ]


def test_without_a_log_messages_stay_where_they_were(driven) -> None:
    done, _, logs = driven(0, "none")
    assert logs == []
    assert "by a child in the task" in done.stderr
    assert "messages of libraries" not in done.stdout


def test_a_command_without_messages_leaves_no_file(tmp_path: Path) -> None:
    told: list[str] = []
    with kept_messages(tmp_path, "all", "", told.append) as logged:
        assert logged.here
        os.write(2, b"== a title\n\n")
    assert told == list(tmp_path.iterdir()) == []


def test_parts_become_one_file_and_equal_lines_count_once(tmp_path: Path) -> None:
    log = LibraryLog(tmp_path)
    log.add("planning", "slow tokenizer\n")
    with redirected(log.part()):
        os.write(2, b"== a\nslow tokenizer\n== b\n== c\nother \xff\n")
    found = log.gather()
    assert found is not None
    assert (found.lines, found.different) == (3, 2)
    assert list((tmp_path / "logs").iterdir()) == [found.path]
    kept = found.path.read_text().splitlines()
    assert sorted(kept) == sorted(
        ["== planning", "slow tokenizer", "== a", "slow tokenizer", "== c", r"other \xff"]
    )
    assert str(found) == f"warnings and messages of libraries: 3 lines (2 different) in {found.path}"


def test_messages_of_a_plan_that_fails_are_printed(tmp_path: Path, capfd) -> None:
    def fails() -> None:
        with heard():
            os.write(2, b"a hint\n")
            raise ValueError("no plan")

    with pytest.raises(ValueError, match="no plan"):
        fails()
    assert "a hint" in capfd.readouterr().err


def test_no_log_on_a_disk_that_cannot_be_written(tmp_path: Path, capfd) -> None:
    (tmp_path / "logs").write_text("a file in the way")
    with kept_messages(tmp_path, "all", "", pytest.fail):
        os.write(2, b"still heard\n")
    assert "still heard" in capfd.readouterr().err
