"""Full disks and read-only folders: a clear message, a record of the failure if the reserved space suffices,
and continuation from there."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from runner_fakes import PARTS
from test_resume import bits
from typer.testing import CliRunner

from zobench.cli import app
from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.scheduler import run_plan
from zobench.spec import Budget, Component
from zobench.store import query
from zobench.store.reader import finished, read_status
from zobench.store.space import RESERVE, RESERVE_BYTES, storage_problem

assert PARTS
GO = {"workers": 0, "parts": "runner_fakes:PARTS"}


class SmallDisk:
    """The ``os`` module on a disk of so many bytes: what is written counts, what is removed or replaced is
    given back."""

    def __init__(self, size):
        self.left, self.refused = size, 0

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, fd, data):
        taken = min(len(data), self.left)
        if taken == 0:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= taken
        return os.write(fd, data[:taken])

    def _given_back(self, path):
        self.left += os.path.getsize(path) if os.path.exists(path) else 0

    def unlink(self, path):
        self._given_back(path)
        os.unlink(path)

    def replace(self, old, new):
        self._given_back(new)
        os.replace(old, new)


class ReadOnly:
    """The ``os`` module on a file system that takes nothing."""

    def __getattr__(self, name):
        if name in ("write", "unlink", "replace", "rmdir", "ftruncate"):
            return self._refuse
        return getattr(os, name)

    def _refuse(self, path, *_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def open(self, path, flags, *mode):
        return self._refuse(path) if flags & (os.O_WRONLY | os.O_RDWR) else os.open(path, flags, *mode)


def on(monkeypatch, disk):
    for module in ("zobench.store.files", "zobench.store.step_log"):
        monkeypatch.setattr(f"{module}.os", disk)


@pytest.fixture
def planned(make_run):
    return make_run("nine", budget=Budget(forwards=90, batch_size=8))


@pytest.fixture
def expected(planned, bench, tmp_path):
    outcome = run_one(Job(planned, "tiny", checkpoint_every=2), tmp_path / "whole", bench)
    return outcome.run_id, bits(tmp_path / "whole", outcome.run_id)


def test_a_disk_of_any_size_is_survived(planned, bench, expected, tmp_path, monkeypatch):
    """From one that takes nothing to one that takes everything; then there is space again."""
    run_id, whole = expected
    job = Job(planned, "tiny", checkpoint_every=2)
    recorded = resumed = 0
    for number, size in enumerate([0, 100, *range(RESERVE_BYTES, RESERVE_BYTES + 130_000, 9000)]):
        runs = tmp_path / str(number)
        with monkeypatch.context() as m:
            disk = SmallDisk(size)
            on(m, disk)
            outcome = run_one(job, runs, bench)
        assert (outcome.status == "done") == (disk.refused == 0)
        if outcome.status != "done":
            assert "no space is left on the disk" in outcome.error == outcome.blocked
            status = read_status(runs / run_id)
            recorded += status is not None
            assert status is None or outcome.blocked in status["error"]
            assert not list((runs / run_id).glob(".tmp-*"))
        again = run_one(job, runs, bench)
        assert again.status == "done"
        assert not again.damage
        assert bits(runs, run_id) == whole
        assert not (runs / run_id / RESERVE).exists()
        table = query("select resumed from runs", runs)
        resumed += int(table["resumed"].item() or 0)
    assert recorded > 3
    assert resumed > 2
    assert outcome.status == "done"


def test_a_plan_stops_at_a_full_disk_and_goes_on(
    planned, make_run, make_plan, expected, tmp_path, monkeypatch, capsys
):
    other = make_run("mezo", method=Component(name="mezo", params={"lr": 0.05}))
    plan = make_plan(planned, other)
    with monkeypatch.context() as m:
        on(m, SmallDisk(RESERVE_BYTES + 12_000))
        summary = run_plan(plan, tmp_path / "out", **GO)
    assert len(summary.failed) == 1
    assert summary.blocked == summary.failed[0][1]
    assert "stopped: " in capsys.readouterr().out
    summary = run_plan(plan, tmp_path / "out", **GO)
    assert (summary.done, summary.failed, summary.blocked) == (2, [], "")
    assert bits(tmp_path / "out" / "runs", expected[0]) == expected[1]


def test_a_read_only_folder_is_said_in_words(planned, bench, expected, make_plan, tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        on(m, ReadOnly())
        outcome = run_one(Job(planned, "tiny"), tmp_path / "new", bench)
        assert "the file system is read-only" in outcome.error == outcome.blocked
        with pytest.raises(OSError, match="Read-only") as caught:
            run_plan(make_plan(planned), tmp_path, progress=False, **GO)
        assert "--output" in str(storage_problem(caught.value))
        assert finished(tmp_path / "whole", expected[0]) == "done"
        found = CliRunner().invoke(app, ["status", str(tmp_path / "whole")])
        assert (found.exit_code, found.output) == (0, f"{tmp_path / 'whole'}: 1 done\n")
        found = CliRunner().invoke(app, ["compact", str(tmp_path / "whole")])
        assert found.exit_code == 2
        assert "the file system is read-only" in found.output


@pytest.fixture
def disk(tmp_path):
    """A real file system of one megabyte, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True)
    if made.returncode:
        pytest.skip("this process may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_real_full_and_read_only_disk(planned, make_plan, expected, disk):
    plan = make_plan(planned)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        while os.statvfs(disk).f_bavail:
            stream.write(bytes(4096))
    with pytest.raises(OSError, match="No space") as caught:
        run_plan(plan, disk / "out", progress=False, **GO)
    assert "no space is left" in str(storage_problem(caught.value))
    for kilobytes in (20, 100, 8):
        os.truncate(filler, filler.stat().st_size - 1024 * kilobytes)
        summary = run_plan(plan, disk / "out", progress=False, checkpoint_every=2, **GO)
        assert "no space is left" in summary.failed[0][1] == summary.blocked
    assert finished(disk / "out", expected[0]) is None
    filler.unlink()
    assert run_plan(plan, disk / "out", progress=False, **GO).done == 1
    assert bits(disk / "out" / "runs", expected[0]) == expected[1]
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    found = CliRunner().invoke(app, ["report", str(disk / "out")])
    assert found.exit_code == 2
    assert "the file system is read-only; make it writable, or choose another folder with" in found.output
    assert len(query("select * from metrics", disk / "out")) > 0


def test_other_errors_are_no_matter_of_storage():
    assert storage_problem(ValueError("x")) is None
    assert storage_problem(OSError(errno.EACCES, "x")) is None
    cause = RuntimeError("while saving")
    cause.__cause__ = OSError(errno.ENOSPC, "full")
    assert storage_problem(cause, Path("here")) == "here: no space is left on the disk; free some"
