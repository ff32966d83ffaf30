"""Damaged files and runs: lost results are recomputed bit-identically, and the damage is reported."""

from __future__ import annotations

import json
import shutil

import pytest
from runner_fakes import PARTS
from test_resume import _stop_after, bits

from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.scheduler import run_plan
from zobench.spec import Budget, Component
from zobench.store import query, read
from zobench.store.checkpoint_file import CHECKPOINT, EARLIER
from zobench.store.damage import damage_in, set_aside, unfinished_steps
from zobench.store.digests import DamagedFile
from zobench.store.reader import finished
from zobench.store.step_log import STEPS_LOG

assert PARTS


@pytest.fixture
def job(make_run):
    return Job(make_run("nine", budget=Budget(forwards=90, batch_size=8)), "tiny", checkpoint_every=2)


@pytest.fixture
def expected(job, bench, tmp_path):
    outcome = run_one(job, tmp_path / "uninterrupted", bench)
    return outcome.run_id, bits(tmp_path / "uninterrupted", outcome.run_id)


def spoil(path, place=-5):
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


CASES = {
    "the last checkpoint": ([(CHECKPOINT, -5)], "went on from step 4"),
    "both checkpoints": ([(CHECKPOINT, -5), (EARLIER, 40)], "started again"),
    "the log before the last checkpoint only": ([(STEPS_LOG, -30)], "went on from step 4"),
    "the log's first line": ([(STEPS_LOG, 12)], "started again"),
    "the environment": ([("environment.json", 40)], None),
    "the specification": ([("spec.json", 40)], None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_unfinished_run_goes_back_or_starts_again(case, job, bench, expected, tmp_path):
    run_id, uninterrupted = expected
    runs = tmp_path / "runs"
    assert run_one(job, runs, bench, _stop_after(6)).status == "interrupted"
    (runs / run_id / "status.json").unlink()  # killed, not stopped
    spoiled, told = CASES[case]
    for name, place in spoiled:
        spoil(runs / run_id / name, place)
    outcome = run_one(job, runs, bench)
    assert outcome.status == "done"
    assert bits(runs, run_id) == uninterrupted
    if told is None:
        return
    assert outcome.damage[-1] == told
    assert any(spoiled[0][0] in line for line in outcome.damage)
    environment = json.loads(read(tmp_path).runs["environment"][0])
    assert environment["damage"] == list(outcome.damage)


@pytest.mark.parametrize("name", ["status.json", "runs.parquet", "metrics.parquet", "steps.parquet"])
def test_a_damaged_finished_run_is_made_again_and_others_are_kept(
    name, make_run, make_plan, expected, tmp_path, capsys
):
    plan = make_plan(
        make_run("nine", budget=Budget(forwards=90, batch_size=8)),
        make_run("mezo", method=Component(name="mezo", params={"lr": 0.05})),
    )
    out = tmp_path / "out"
    go = {"workers": 0, "parts": "runner_fakes:PARTS"}
    assert run_plan(plan, out, progress=False, **go).done == 2
    run_id, uninterrupted = expected
    victim = out / "runs" / run_id / name
    spoil(victim, 60)
    summary = run_plan(plan, out, **go)
    assert (summary.done, summary.kept, summary.failed) == (2, 1, [])
    assert len(summary.damage) == 1
    assert f"damaged: {victim} is damaged" in capsys.readouterr().out.replace("\n", "")
    assert bits(out / "runs", run_id) == uninterrupted
    assert [d.name for d in set_aside(out / "runs")] == [run_id]
    assert query("select count(*) as n from runs", out)["n"].item() == 2


def test_a_log_that_ends_before_its_checkpoint_is_named(job, bench, expected, tmp_path):
    run_id, uninterrupted = expected
    runs = tmp_path / "runs"
    run_one(job, runs, bench, _stop_after(6))
    (runs / run_id / "status.json").unlink()
    log = runs / run_id / STEPS_LOG
    whole = log.read_bytes()
    assert unfinished_steps(log.parent)[5]["step"] == 5
    for cut in (whole[:-20], whole[: whole.index(b"\n") + 1], b""):
        log.write_bytes(cut)
        with pytest.raises(DamagedFile, match=f"steps before {CHECKPOINT} are missing"):
            unfinished_steps(log.parent)
        assert {d.path for d in damage_in(runs)} == {log}
    assert run_one(job, runs, bench).damage[-1] == "started again"
    assert bits(runs, run_id) == uninterrupted


def test_a_damaged_plan_does_not_stop_a_run(make_run, make_plan, tmp_path):
    plan = make_plan(make_run("mezo", method=Component(name="mezo", params={"lr": 0.05})))
    go = {"workers": 0, "parts": "runner_fakes:PARTS", "progress": False}
    run_plan(plan, tmp_path, **go)
    spoil(tmp_path / "runs" / "plan.json", 30)
    summary = run_plan(plan, tmp_path, **go)
    assert (summary.done, summary.kept) == (1, 1)
    assert "plan.json is damaged" in summary.damage[0]


def test_a_failed_run_with_a_damaged_log_is_recorded(job, bench, expected, tmp_path, monkeypatch):
    """The log is spoiled while the run goes on; it ends failed, with the file's name, and the next call heals
    it."""
    from zobench.store.step_log import StepLog

    run_id, uninterrupted = expected
    runs, append = tmp_path / "runs", StepLog.append

    def spoiling(self, row):
        append(self, row)
        if row.get("step") == 7:
            spoil(self.path, -30)

    with monkeypatch.context() as m:
        m.setattr(StepLog, "append", spoiling)
        outcome = run_one(job, runs, bench)
    assert outcome.status == "failed"
    assert f"{STEPS_LOG} is damaged: line 8" in outcome.error
    assert finished(runs, run_id) is None
    assert run_one(job, runs, bench).status == "done"
    assert bits(runs, run_id) == uninterrupted
    shutil.rmtree(runs)
