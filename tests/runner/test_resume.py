"""A run interrupted at any point resumes and is bit-identical to an uninterrupted one."""

from __future__ import annotations

import json
import os

import pytest
import torch

from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.spec import Budget, Component
from zobench.store import files
from zobench.store.checkpoint_file import CHECKPOINT
from zobench.store.reader import finished, read_run
from zobench.store.step_log import STEPS_LOG

TIMED = ("seconds", "train_seconds", "evaluation_seconds", "peak_memory_bytes", "resumed", "environment")
CLOCK = ("started_utc", "finished_utc")


def bits(runs, run_id):
    """Everything a run recorded but its times."""
    tables = {name: t.to_pylist() for name, t in read_run(runs, run_id).items()}
    for rows in tables.values():
        for row in rows:
            for key in (*TIMED, *CLOCK):
                row.pop(key, None)
    return json.dumps(tables, sort_keys=True)


class Crash(BaseException):
    """The process is gone: nothing of the library may catch it."""


class CrashingOs:
    """The ``os`` module with a crash right after the n-th operation that changes a file."""

    CHANGING = ("open", "write", "fsync", "replace", "unlink", "rmdir", "ftruncate", "close")

    def __init__(self, after):
        self.left = after

    def __getattr__(self, name):
        found = getattr(os, name)
        if name not in self.CHANGING:
            return found

        def counted(*args, **kwargs):
            result = None if name == "fsync" else found(*args, **kwargs)
            self.left -= 1
            if self.left == 0:
                raise Crash(name)
            return result

        return counted


@pytest.fixture
def job(make_run):
    planned = make_run("nine", budget=Budget(forwards=90, batch_size=8), attacks=(Component(name="swap"),))
    return Job(planned, "tiny", checkpoint_every=2)


@pytest.fixture
def expected(job, bench, tmp_path):
    runs = tmp_path / "uninterrupted"
    outcome = run_one(job, runs, bench)
    assert outcome.status == "done"
    return outcome.run_id, bits(runs, outcome.run_id)


def crash_points(job, bench, tmp_path, patch):
    """How many file operations a run makes."""
    counter = CrashingOs(10**9)
    with patch.context() as m:
        m.setattr(files, "os", counter)
        m.setattr("zobench.store.step_log.os", counter)
        run_one(job, tmp_path / "counting", bench)
    return 10**9 - counter.left


def test_crash_after_every_file_operation(job, bench, expected, tmp_path, monkeypatch):
    run_id, uninterrupted = expected
    total = crash_points(job, bench, tmp_path, monkeypatch)
    assert total > 50
    resumed = 0
    for n in range(1, total + 1):
        runs = tmp_path / f"crash-{n}"
        with monkeypatch.context() as m:
            crashing = CrashingOs(n)
            m.setattr(files, "os", crashing)
            m.setattr("zobench.store.step_log.os", crashing)
            with pytest.raises(Crash):
                run_one(job, runs, bench)
        had_checkpoint = (runs / run_id / CHECKPOINT).exists() and finished(runs, run_id) is None
        outcome = run_one(job, runs, bench)
        assert outcome.status == "done"
        assert bits(runs, run_id) == uninterrupted, f"crash after operation {n}"
        resumed += had_checkpoint
        assert not list((runs / run_id).glob(".tmp-*"))
    assert resumed > 20


@pytest.mark.parametrize("row", ["mezo", "nine", "zo-adam"])
@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 13])
def test_clean_stop_at_any_step(row, stop_after, make_run, bench, tmp_path):
    params = {} if row == "nine" else {"lr": 0.05}
    planned = make_run(
        row, method=Component(name=row, params=params), budget=Budget(forwards=126, batch_size=8)
    )
    job = Job(planned, "tiny", checkpoint_every=5)
    run_id = run_one(job, tmp_path / "a", bench).run_id
    seen = []
    control = Control(lambda event: seen.append(event), lambda: sum("loss" in e for e in seen) >= stop_after)
    assert run_one(job, tmp_path / "b", bench, control).status == "interrupted"
    assert finished(tmp_path / "b", run_id) is None
    assert run_one(job, tmp_path / "b", bench).status == "done"
    assert bits(tmp_path / "b", run_id) == bits(tmp_path / "a", run_id)


def test_torn_line_and_steps_beyond_the_checkpoint_are_cut(job, bench, expected, tmp_path):
    run_id, uninterrupted = expected
    runs = tmp_path / "b"
    stop_at_5 = _stop_after(5)
    run_one(job, runs, bench, stop_at_5)
    log = runs / run_id / STEPS_LOG
    assert log.read_bytes().count(b"\n") == 5
    with log.open("ab") as stream:
        stream.write(b'{"step":5,"loss":0.1}\n{"step":6,"lo')
    run_one(job, runs, bench)
    assert bits(runs, run_id) == uninterrupted


def test_log_shorter_than_the_checkpoint_means_from_the_start(job, bench, expected, tmp_path):
    run_id, uninterrupted = expected
    runs = tmp_path / "b"
    run_one(job, runs, bench, _stop_after(5))
    log = runs / run_id / STEPS_LOG
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    run_one(job, runs, bench)
    assert bits(runs, run_id) == uninterrupted


def test_resumed_run_says_so(job, bench, tmp_path):
    run_one(job, tmp_path, bench, _stop_after(5))
    outcome = run_one(job, tmp_path, bench)
    assert read_run(tmp_path, outcome.run_id)["runs"].to_pylist()[0]["resumed"] == 1


def test_optimizer_state_survives_packing():
    from zobench.runner.checkpoints import pack, unpack

    state = {"a": [1, 2.5, None, "x", {"t": torch.tensor([1.5])}], "b": torch.arange(3), "seed": 2**64 - 1}
    stored = pack({"w": torch.ones(2)}, state, {"step": 3})
    position = json.loads(json.dumps(dict(stored.position)))
    weights, back, rest = unpack(stored.tensors, position)
    assert torch.equal(weights["w"], torch.ones(2))
    assert rest == {"step": 3}
    assert back["seed"] == 2**64 - 1
    assert torch.equal(back["b"], torch.arange(3))
    assert back["a"][:4] == [1, 2.5, None, "x"]
    assert torch.equal(back["a"][4]["t"], torch.tensor([1.5]))


@pytest.mark.parametrize("bad", [{1: 2}, {"a": {1, 2}}, {"__tensor__": 1}])
def test_optimizer_state_of_another_kind_is_refused(bad):
    from zobench.runner.checkpoints import pack

    with pytest.raises(TypeError, match="optimizer state"):
        pack({}, bad, {})


def _stop_after(steps):
    seen = []
    return Control(lambda event: seen.append(event), lambda: sum("loss" in e for e in seen) >= steps)
