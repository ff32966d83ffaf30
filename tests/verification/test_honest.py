"""An honest submission passes every check, for every kind of state that a method keeps."""

from __future__ import annotations

import json
import math

import pytest

from zobench.spec import Budget, Component, Evaluation, SpaceRef
from zobench.store.reader import read
from zobench.verification import add_to_results, read_submission, write_submission
from zobench.verification.report import Demands, chance_of_missing
from zobench.verification.verify import drawn

CHECKS = [
    "identity",
    "base model",
    "data",
    "facts",
    "trajectory",
    "size",
    "losses",
    "end of training",
    "weights",
    "test metrics",
]


@pytest.mark.parametrize(
    "method", ["mezo", "fzoo", "zo-adam", "zo-sgd-momentum", "sparse-mezo", "forward-gradient", "lozo"]
)
def test_every_step_of_an_honest_run_is_recomputed_to_the_bit(submitted, verify, method):
    file = submitted(method, method=Component(name=method, params={"lr": 0.01}))
    report = verify(file, steps=None)
    assert [f.check for f in report.findings][: len(CHECKS)] == CHECKS
    assert report.passed, str(report)
    assert report.steps_checked == report.exact == report.steps > 0
    assert "VERIFIED" in str(report).splitlines()[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": "shuffled"},
        {"shots": 2},
        {"space": SpaceRef(kind="masked", params={"share": 0.3})},
        {"perturbation": "in-place"},
        {"noise": "legacy"},
        {"budget": Budget(forwards=25, batch_size=4)},
        {"method": Component(name="none"), "budget": Budget(forwards=0)},
    ],
    ids=str,
)
def test_other_runs_pass_as_well(submitted, verify, changes):
    report = verify(submitted(**changes), steps=3)
    assert report.passed, str(report)
    assert report.steps_checked == min(3, report.steps)


def test_a_diverged_run_is_a_result_that_can_be_verified(submitted, verify):
    params = {"lr": 50.0, "epsilon": 1e-2}
    file = submitted(method=Component(name="mezo", params=params), budget=Budget(forwards=400, batch_size=8))
    assert read_submission(file).run["status"] == "diverged"
    assert verify(file, steps=2).passed


def test_fresh_test_rows_are_told(submitted, verify):
    report = verify(submitted(), steps=0, test_seed=99)
    (found,) = [f for f in report.findings if f.check == "fresh test rows"]
    assert "of data seed 99 are new: accuracy" in found.detail
    losses = next(f for f in report.findings if f.check == "losses")
    assert losses.outcome == "not checked"
    assert not report.passed, "nothing recomputed is nothing verified"


def test_rows_beyond_those_measured_are_fresh_even_of_a_fixed_test_set(submitted, verify):
    """With its own seed the verifier draws the run's own test rows: those it was not measured on count."""
    few = submitted(evaluation=Evaluation(test_items=5))
    report = verify(few, steps=None, test_seed=read_submission(few).run["seed"])
    (found,) = [f for f in report.findings if f.check == "fresh test rows"]
    assert found.outcome == "passed"
    assert found.detail.startswith("5 of ")
    whole = submitted()
    report = verify(whole, steps=0, test_seed=read_submission(whole).run["seed"])
    (found,) = [f for f in report.findings if f.check == "fresh test rows"]
    assert found.outcome == "failed"


def test_the_model_may_come_from_elsewhere(submitted, verify):
    with pytest.raises(ValueError, match="no model 'other'"):
        verify(submitted(), model="other")


def test_a_submission_is_small_says_no_command_and_is_the_same_every_time(submitted, tmp_path):
    file = submitted()
    found = read_submission(file)
    assert "command" not in found.environment
    again = write_submission(tmp_path, found.run["run_id"], tmp_path / "again.zip")
    assert again.read_bytes() == file.read_bytes()


def test_a_verified_run_joins_a_results_folder_with_its_mark(submitted, verify, tmp_path):
    report = verify(submitted(), steps=None)
    add_to_results(report, tmp_path / "board")
    found = read(tmp_path / "board")
    (run,) = found.runs.to_dict("records")
    assert run["note"].startswith("verified: 12 steps replayed, losses of 12 recomputed (12 to the bit)")
    assert math.isnan(run["train_seconds"])
    assert json.loads(run["environment"])["verification"]["passed"]
    accuracy = found.metrics[found.metrics["metric"] == "accuracy"]["value"].item()
    assert accuracy == report.metrics["accuracy"]
    with pytest.raises(ValueError, match="already"):
        add_to_results(report, tmp_path / "board")


def test_what_cannot_be_submitted_says_why(submitted):
    with pytest.raises(ValueError, match="does not replay from scalars"):
        submitted("nine", method=Component(name="nine"))
    with pytest.raises(ValueError, match="it has no result"):
        submitted("nine", method=Component(name="nine", params={"fail_at": 0}))
    with pytest.raises(ValueError, match="tuning trial"):
        submitted(purpose="tuning")


def test_steps_are_drawn_without_replacement_and_unpredictably():
    assert drawn(5, Demands(steps=9)) == drawn(5, Demands(steps=None)) == frozenset(range(5))
    assert drawn(1000, Demands(draw_seed=1)) == drawn(1000, Demands(draw_seed=1))
    assert len(drawn(1000, Demands())) == 16
    assert drawn(10**6, Demands()) != drawn(10**6, Demands())


def test_chance_of_missing_by_hand():
    # 10 steps, one of them forged, 4 drawn: all four miss it with probability 6/10.
    assert chance_of_missing(10, 4) == pytest.approx(0.6)
    assert chance_of_missing(10, 10) == 0.0
