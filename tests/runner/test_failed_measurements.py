"""A measurement that fails affects neither the trained run nor other measurements. It is tried twice, and
again only on request. A restart makes the missing measurements without training."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench.cli.app import app
from zobench.report.build import build
from zobench.runner import execute, final_state
from zobench.runner.execute import Control, run_one
from zobench.runner.finished_runs import results
from zobench.runner.jobs import Job
from zobench.runner.scheduler import run_plan
from zobench.spec import Budget, Component, Evaluation
from zobench.store import compact, query, read
from zobench.store.checkpoint_file import CHECKPOINT, EARLIER
from zobench.store.reader import read_run
from zobench.store.step_log import STEPS_LOG
from zobench.store.writer import JOURNAL

METHODS = {
    "mezo": Component(name="mezo", params={"lr": 0.3, "epsilon": 1e-2}),
    "nine": Component(name="nine"),
}
"""One whose weights come back by replay, one whose final state is kept."""
TIMED = (
    "seconds", "train_seconds", "evaluation_seconds", "peak_memory_bytes", "resumed", "environment",
    "started_utc", "finished_utc", "spec", "evaluation_forwards", "run_id", "attack_cards", "params",
)  # fmt: skip


def breaking(folder: Path, times: int, **more) -> Component:
    return Component(name="swap", params={"breaks": str(folder / "count"), "times": times, **more})


def tries(folder: Path) -> int:
    path = folder / "count"
    return len(path.read_text()) if path.exists() else 0


@pytest.fixture(params=list(METHODS))
def planned(request, make_run):
    def make(*attacks, **changes):
        return make_run(
            request.param,
            method=METHODS[request.param],
            budget=Budget(forwards=54, batch_size=8),
            attacks=attacks,
            **changes,
        )

    return make


@pytest.fixture
def call(tmp_path, bench, monkeypatch):
    """One call in this process: outcome, tables, and how many steps it took."""
    steps = []
    plain = execute.Training._step
    monkeypatch.setattr(execute.Training, "_step", lambda self: steps.append(1) or plain(self))

    def run(run, **more):
        steps.clear()
        job = Job(run, "tiny", checkpoint_every=more.pop("every", 4), **more)
        outcome = run_one(job, tmp_path / "runs", bench)
        tables = {n: t.to_pylist() for n, t in read_run(tmp_path / "runs", outcome.run_id).items()}
        return outcome, tables, len(steps)

    return run


def bits(tables) -> str:
    for rows in tables.values():
        for row in rows:
            for key in TIMED:
                row.pop(key, None)
    return json.dumps({n: rows for n, rows in tables.items() if n != "failures"}, sort_keys=True)


def test_an_attack_that_fails_once_leaves_the_run_done_and_is_measured_by_the_next_call(
    planned, call, tmp_path
):
    run = planned(breaking(tmp_path, 1), Component(name="other"))
    outcome, tables, steps = call(run)
    assert (outcome.status, steps > 0) == ("done", True)
    assert outcome.metrics["accuracy"] == outcome.primary
    assert {r["condition"] for r in tables["attacks"]} == {"other"}, "the other attack was measured"
    (row,) = tables["failures"]
    assert (row["measurement"], row["tries"], row["final"]) == ("attack swap", 1, True)
    assert row["reason"] == "RuntimeError: attack broke the 1. time"
    assert "Traceback" in row["detail"]
    assert outcome.unmeasured == (
        "attack swap was not measured (1 of 2 tries): RuntimeError: attack broke the 1. time",
    )
    again, measured, steps = call(run)
    assert (again.status, again.fresh, again.unmeasured, steps) == ("done", True, (), 0)
    assert "failures" not in measured
    assert {r["condition"] for r in measured["attacks"]} == {"swap", "other"}
    folder = tmp_path / "runs" / again.run_id
    assert not any((folder / name).exists() for name in (CHECKPOINT, EARLIER, STEPS_LOG, JOURNAL))
    kept, _, _ = call(run)
    assert not kept.fresh
    (tmp_path / "no").mkdir()
    plain, unbroken, _ = call(planned(breaking(tmp_path / "no", 0), Component(name="other")))
    assert plain.run_id != again.run_id
    for name in ("attacks", "metrics"):
        for tab in (measured, unbroken):
            tab[name].sort(key=lambda r: (r["condition"], r["condition_kind"], str(r.get("metric"))))
    mine, theirs = json.loads(bits(measured)), json.loads(bits(unbroken))
    assert {n: mine[n] == theirs[n] for n in theirs} == dict.fromkeys(theirs, True)


def test_after_two_tries_it_is_left_alone_until_it_is_asked_for(planned, call, tmp_path):
    run = planned(breaking(tmp_path, 3))
    assert [call(run)[0].fresh for _ in range(4)] == [True, True, False, False]
    assert tries(tmp_path) == 2
    outcome, tables, _ = call(run)
    assert tables["failures"][0]["tries"] == 2
    assert "(2 of 2 tries)" in outcome.unmeasured[0]
    third, tables, steps = call(run, retry_failed=True)
    assert (third.status, tables["failures"][0]["tries"], steps) == ("done", 3, 0)
    fourth, tables, steps = call(run, retry_failed=True)
    assert (fourth.unmeasured, steps, tries(tmp_path)) == ((), 0, 4)
    assert {r["condition"] for r in tables["attacks"]} == {"swap"}


def test_failures_are_no_part_of_identity_and_stand_in_query_read_and_finished_runs(planned, call, tmp_path):
    run = planned(breaking(tmp_path, 9))
    first, _, _ = call(run)
    second, _, _ = call(run)
    assert first.run_id == second.run_id
    asked = query("select run_id, measurement, tries from failures", tmp_path)
    assert asked.to_dict("records") == [{"run_id": first.run_id, "measurement": "attack swap", "tries": 2}]
    assert read(tmp_path).failures["measurement"].tolist() == ["attack swap"]
    assert first.run_id in results(tmp_path / "runs")
    assert results(tmp_path / "runs", retry_failed=True) == {}


def test_a_run_with_failed_measurements_is_not_compacted(planned, call, tmp_path):
    run = planned(breaking(tmp_path, 9))
    outcome, _, _ = call(run)
    assert compact(tmp_path) == 0
    assert (tmp_path / "runs" / outcome.run_id / CHECKPOINT).exists()


def test_what_is_kept_for_a_replay_holds_no_weights(make_run, call, tmp_path):
    def kept(name):
        run = make_run(name, method=METHODS[name], attacks=(breaking(tmp_path / name, 9),))
        (tmp_path / name).mkdir()
        outcome, _, _ = call(run)
        return (tmp_path / "runs" / outcome.run_id / CHECKPOINT).read_bytes()

    assert b"weights/" not in kept("mezo")
    assert b"weights/" in kept("nine")


def test_weights_that_come_back_different_are_a_failed_try_and_the_run_stays(
    make_run, call, tmp_path, monkeypatch
):
    run = make_run("mezo", method=METHODS["mezo"], attacks=(breaking(tmp_path, 1),))
    _, before, _ = call(run)
    monkeypatch.setattr("zobench.runner.training.rebuild", lambda *a: None)
    outcome, tables, _ = call(run)
    assert outcome.status == "done"
    assert tables["metrics"] == before["metrics"]
    assert "the weights that came back are not those that were recorded" in tables["failures"][0]["reason"]
    monkeypatch.setattr("zobench.runner.training.rebuild", final_state.rebuild)
    outcome, _, _ = call(run, retry_failed=True)
    assert outcome.unmeasured == ()


def test_an_lm_eval_task_that_fails_once(planned, call, monkeypatch):
    from zobench.tasks import lm_eval_adapter
    from zobench.tasks.base import MetricValue

    asked = []

    def evaluate(lm, name, *, include, limit):
        asked.append(name)
        if asked == ["a"]:
            raise OSError("the data set is not here")
        return {"acc": MetricValue(0.25, 12, 0.1)}

    monkeypatch.setattr(lm_eval_adapter, "evaluate", evaluate)
    run = planned(evaluation=Evaluation(lm_eval=("a", "b")))
    outcome, tables, _ = call(run)
    assert (outcome.status, tables["failures"][0]["measurement"]) == ("done", "lm-eval a")
    assert {r["task"] for r in tables["metrics"]} == {"count", "b"}
    _, tables, steps = call(run)
    assert (asked, steps) == (["a", "b", "a"], 0)
    assert {r["task"] for r in tables["metrics"]} == {"count", "a", "b"}


def test_an_attack_along_the_curve_is_tried_twice_at_once(planned, call, tmp_path):
    evaluation = Evaluation(attacks_at=(20,))
    outcome, tables, _ = call(planned(breaking(tmp_path, 1), evaluation=evaluation))
    assert (outcome.status, outcome.unmeasured) == ("done", ())
    (tmp_path / "count").unlink()
    outcome, tables, _ = call(planned(breaking(tmp_path, 2), evaluation=evaluation))
    (row,) = tables["failures"]
    assert (row["measurement"], row["tries"], row["final"]) == ("attacks at 20", 2, False)
    assert {r["condition"] for r in tables["attacks"]} == {"swap"}, "the final state is measured"
    again, _, _ = call(planned(breaking(tmp_path, 2), evaluation=evaluation), retry_failed=True)
    assert not again.fresh, "that state does not come back"


def test_an_attack_that_leaves_weights_changed_stops_those_behind_it(planned, call, tmp_path):
    run = planned(breaking(tmp_path, 1, spoils=True), Component(name="other"))
    outcome, tables, _ = call(run)
    reasons = {r["measurement"]: (r["tries"], r["reason"]) for r in tables["failures"]}
    assert outcome.status == "done"
    assert reasons["attack other"] == (0, "not tried: attack swap failed and left the weights changed")
    _, tables, _ = call(run)
    assert {r["condition"] for r in tables["attacks"]} == {"swap", "other"}


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("place", ["its own score", "attack swap", "attack other", "the tables"])
def test_killed_between_training_and_the_last_measurement_it_does_not_train_again(
    planned, call, tmp_path, monkeypatch, place
):
    from zobench.store.writer import RunFolder

    run = planned(Component(name="swap"), Component(name="other"))
    whole, expected, _ = call(run)
    (tmp_path / "runs").rename(tmp_path / "whole")
    with monkeypatch.context() as m:
        if place == "the tables":
            m.setattr(RunFolder, "finish", _dies)
        else:
            log = "zobench.runner.measurements.StepLog.append"
            m.setattr(log, _dying_at(place))
        with pytest.raises(Killed):
            call(run, every=1000)
    outcome, tables, steps = call(run, every=1000)
    assert (outcome.status, steps, outcome.run_id) == ("done", 0, whole.run_id)
    assert bits(tables) == bits(expected)


def _dies(*args, **kwargs):
    raise Killed


def _dying_at(name):
    from zobench.store.step_log import StepLog

    plain = StepLog.append

    def append(self, row):
        if row.get("name") == name and row.get("event") == "done":
            raise Killed
        plain(self, row)

    return append


def test_a_clean_stop_between_measurements_goes_on_after_the_last_one(planned, tmp_path, bench):
    run = planned(Component(name="swap"), Component(name="other", params={"breaks": str(tmp_path / "count")}))
    asked = []

    def stop():
        asked.append(1)
        return (tmp_path / "runs").exists() and any((tmp_path / "runs").glob(f"*/{JOURNAL}"))

    job = Job(run, "tiny", checkpoint_every=1000)
    stopped = run_one(job, tmp_path / "runs", bench, Control(should_stop=stop))
    assert stopped.status == "interrupted"
    assert tries(tmp_path) == 0
    outcome = run_one(job, tmp_path / "runs", bench)
    assert (outcome.status, tries(tmp_path)) == ("done", 1)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_attack_that_kills_its_worker_is_a_failed_measurement(make_run, make_plan, tmp_path):
    run = make_run(attacks=(breaking(tmp_path, 1, kills=True), Component(name="other")))
    plan = make_plan(run, kind="process")
    options = {"workers": 1, "progress": False, "parts": "runner_fakes:PARTS"}
    summary = run_plan(plan, tmp_path, **options)
    assert (summary.done, summary.failed) == (1, [])
    assert "its worker process ended during this measurement" in summary.unmeasured[0][1]
    found = read(tmp_path)
    assert set(found.attacks["condition"]) == {"other"}
    assert run_plan(plan, tmp_path, **options).unmeasured == []
    assert set(read(tmp_path).attacks["condition"]) == {"swap", "other"}


def test_a_lost_worker_in_training_is_no_failed_measurement(planned, call):
    outcome, tables, _ = call(planned(Component(name="swap")), lost=True)
    assert (outcome.unmeasured, "failures" in tables) == ((), False)


def test_they_stand_in_status_show_and_on_the_page_and_run_says_so(make_run, make_plan, tmp_path):
    plan = make_plan(make_run(attacks=(breaking(tmp_path, 9),)))
    summary = run_plan(plan, tmp_path, workers=0, progress=False, parts="runner_fakes:PARTS")
    (found,) = summary.unmeasured
    assert found[1].startswith("attack swap was not measured (1 of 2 tries): RuntimeError")
    run_id = read(tmp_path).runs["run_id"].item()
    told = CliRunner().invoke(app, ["status", str(tmp_path)]).output
    assert f"not measured: attack swap of mezo ({run_id}; 1 try): RuntimeError: attack broke" in told
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "runs" / run_id)]).output
    assert "not measured: attack swap (1 try): RuntimeError: attack broke the 1. time" in shown
    build([tmp_path], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Not measured: attack swap of mezo on count, seed 0 (1 try; RuntimeError: attack broke" in page
