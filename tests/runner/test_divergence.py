"""A run whose losses, weights or scores are NaN or infinite has diverged. This is a result: it keeps its
steps and finished measurements, counts as chance, and is not run again."""

from __future__ import annotations

import math

import pytest
import torch
from runner_fakes import CountTask

from zobench.report.analysis import analyse
from zobench.runner.jobs import Job
from zobench.runner.scheduler import run_plan
from zobench.spec import Budget, Component
from zobench.store import read

SHORT = Budget(forwards=36, batch_size=8)


def scores(tables, *, final):
    return [r for r in tables.get("metrics", []) if r["metric"] == "accuracy" and r["final"] == final]


def diverged(outcome, tables, message):
    assert outcome.status == "diverged"
    assert message in tables["runs"][0]["error"]
    assert scores(tables, final=True) == []
    assert "predictions" not in tables
    return True


def test_weights_that_are_not_finite(do, make_run):
    """Too few steps for the criterion of losses: the method writes NaN and the run ends."""
    run = make_run("nine", method=Component(name="nine", params={"lr": math.inf}), budget=SHORT)
    outcome, tables = do(run)
    assert diverged(outcome, tables, "are not finite")
    assert len(tables["steps"]) >= 1
    assert [r["forwards"] for r in scores(tables, final=False)] == [0], "the curve up to there stays"
    again, _ = do(run)
    assert not again.fresh


def test_losses_of_which_none_is_finite_in_a_short_run(do, make_run):
    task = Component(name="count", params={"loss_factor": 1e39})
    outcome, tables = do(make_run(task=task, budget=Budget(forwards=20, batch_size=8)))
    assert outcome.status == "diverged"
    assert tables["runs"][0]["error"] == "none of its 10 losses is finite"
    assert scores(tables, final=True)[0]["value"] > 0, "the untouched weights give numbers"


@pytest.mark.parametrize("at", [40, 10**6], ids=["along the curve", "at the end"])
def test_scores_that_are_nan_with_finite_weights(do, make_run, monkeypatch, at):
    plain = CountTask.predict
    calls = []

    def predict(self, lm, rows, shown=()):
        calls.append(1)
        found = plain(self, lm, rows, shown)
        if len(calls) < (3 if at == 40 else 4):
            return found
        return [type(p)(p.example_id, "0", False, 0, (math.nan, math.nan)) for p in found]

    monkeypatch.setattr(CountTask, "predict", predict)
    outcome, tables = do(make_run())
    assert diverged(outcome, tables, "scores of 40 of 40 test rows are NaN, first 'test-0'")
    assert len(scores(tables, final=False)) == (2 if at == 40 else 3)
    assert not do(make_run())[0].fresh


def test_an_untouched_model_without_numbers_is_a_failure_not_a_divergence(do, make_run, monkeypatch):
    nan = [torch.tensor([math.nan])]
    monkeypatch.setattr(CountTask, "metrics", lambda *a: nan[0].tolist() and 1 / 0)
    outcome, _ = do(make_run(budget=Budget(forwards=0, batch_size=8)))
    assert outcome.status == "failed"


def test_a_probabilities_error_of_finite_weights_stays_a_failure(do, make_run, monkeypatch):
    """Only what is not a number is divergence: any other error in measuring is one."""

    def metrics(self, examples, predictions):
        raise ValueError("row 0: probabilities sum to 2, not 1")

    monkeypatch.setattr(CountTask, "metrics", metrics)
    outcome, _ = do(make_run())
    assert (outcome.status, "sum to 2" in outcome.error) == ("failed", True)


def test_the_page_counts_it_and_takes_chance_for_its_score(make_run, make_plan, tmp_path):
    fine = [make_run(seed=s) for s in (0, 1)]
    lost = make_run("nine", method=Component(name="nine", params={"lr": math.inf}), budget=SHORT)
    plan = make_plan(*fine, lost)
    summary = run_plan(plan, tmp_path, workers=0, progress=False, parts="runner_fakes:PARTS")
    assert (summary.done, summary.failed, summary.unmeasured) == (3, [], [])
    runs = read(tmp_path)
    assert sorted(runs.runs["status"]) == ["diverged", "done", "done"]
    finals = runs.finals
    assert finals.loc[finals["status"] == "diverged", "value"].tolist() == [0.5]
    found = analyse([tmp_path])
    assert any("1 run diverged." in line for line in _warnings(found))
    assert Job(lost).key


def _warnings(found):
    from zobench.report.overview import describe

    return describe(found.ranking, found.runs).warnings
