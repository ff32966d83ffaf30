"""Diagnostics are recorded, their cost is counted separately, and the run's results stay bit-identical."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest

from zobench.plugins import entries
from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.spec import Budget, Component, Diagnostics

ALL = ("gradient-cosine", "variance", "effective-rank", "sharpness", "gradip", "probe-losses")
WANTED = Diagnostics(measure=ALL, every=4, directions=3)
METHODS = {
    name: dict(method.small_problem)
    for name, method in ((n, e.load()) for n, e in entries("methods").items() if e.origin == "builtin")
    if ("*" in method.card.spaces or "full" in method.card.spaces)
    and not {"residual", "code"} & set(method.card.needs)
} | {"mezo-svrg": {"anchor_batches": 3}, "deepzero": {"n": 4, "pruning_queries": 2}}
CHANGED = ("run_id", "spec", "diagnostic_forwards", "environment", "started_utc", "finished_utc")
TIMED = ("train_seconds", "evaluation_seconds", "peak_memory_bytes", "seconds")


def plain(rows):
    """Rows without names, times and diagnostics."""
    left = [{k: v for k, v in r.items() if k not in CHANGED + TIMED} for r in rows]
    return [r for r in left if r.get("condition_kind") != "diagnostic"]


def readings(tables):
    found = defaultdict(list)
    for m in tables["metrics"]:
        if m["condition_kind"] == "diagnostic":
            found[m["metric"]].append(m)
    return found


KINDS = (
    "mezo",
    "fzoo",
    "zo-adam",
    "conmezo",
    "meerkat",
    "mezo-svrg",
    "addax",
    "deepzero",
    "zo-sgd-block",
    "sgd",
)


@pytest.mark.parametrize("row", KINDS)
def test_with_and_without_the_run_has_the_same_bits(row, make_run, do):
    same_bits(row, make_run, do)


@pytest.mark.slow
@pytest.mark.parametrize("row", sorted(set(METHODS) - set(KINDS)))
def test_of_the_others_too(row, make_run, do):
    same_bits(row, make_run, do)


def same_bits(row, make_run, do):
    changes = {
        "method": Component(name=row, params=METHODS[row]),
        "budget": Budget(forwards=140, batch_size=8),
    }
    _, without = do(make_run(row, **changes))
    outcome, looked = do(make_run(row, **changes, diagnostics=WANTED))
    assert outcome.status == "done"
    assert looked["runs"][0]["weights_digest"] == without["runs"][0]["weights_digest"]
    for table in without:
        assert repr(plain(looked[table])) == repr(plain(without[table]))
    assert without["runs"][0]["diagnostic_forwards"] == 0
    steps = len(without.get("steps", ()))
    assert len(readings(looked)["loss_at_theta"]) == math.ceil(steps / 4)


def test_what_is_read_and_what_it_costs(make_run, do):
    _, tables = do(make_run(diagnostics=WANTED))
    found = readings(tables)
    assert set(found) == {
        "gradient_norm", "gradient_cosine", "update_cosine", "estimate_norm", "query_variance",
        "estimate_effective_rank", "update_effective_rank", "sharpness", "sharpness_max", "gradip",
        "loss_at_theta", "probe_loss_mean", "probe_loss_min", "probe_loss_max",
    }  # fmt: skip
    assert all(len(rows) == 8 for rows in found.values()), "steps 0, 4, ... 28"
    assert [m["step"] for m in found["gradip"]] == list(range(0, 30, 4))
    assert [m["forwards"] for m in found["gradip"]] == list(range(0, 60, 8))
    row = tables["runs"][0]
    assert row["forwards"] == 60
    gradient, variance, sharpness, at_theta, pretrained = 3, 6, 6, 1, 4 * 3
    assert row["diagnostic_forwards"] == 8 * (gradient + variance + sharpness + at_theta) + pretrained


def test_cosines_agree_with_what_is_known(make_run, do):
    """One SPSA direction moves down its slope: estimate and update point the same way, within a right angle
    of the gradient; SGD moves along the gradient."""
    _, tables = do(make_run(diagnostics=WANTED))
    found = readings(tables)
    for estimate, update in zip(found["gradient_cosine"], found["update_cosine"], strict=True):
        assert 0 < estimate["value"] < 1
        assert update["value"] == pytest.approx(estimate["value"], abs=1e-3)
    _, tables = do(make_run("sgd", method=Component(name="sgd"), diagnostics=WANTED))
    for m in readings(tables)["update_cosine"]:
        assert m["value"] == pytest.approx(1.0, abs=1e-3)


def test_probe_losses_are_those_of_the_steps(make_run, do):
    _, tables = do(make_run(diagnostics=WANTED))
    by_step = {s["step"]: s for s in tables["steps"]}
    for m in readings(tables)["probe_loss_max"]:
        assert m["value"] == max(by_step[m["step"]]["losses"])
        assert m["n"] == 2


@pytest.mark.parametrize("stop_after", [1, 5, 6])
def test_resumed_it_has_read_the_same(stop_after, make_run, bench, tmp_path):
    from test_resume import bits

    job = Job(make_run("zo-adam", method=Component(name="zo-adam"), diagnostics=WANTED), checkpoint_every=3)
    run_id = run_one(job, tmp_path / "a", bench).run_id
    seen: list[dict] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= stop_after)
    assert run_one(job, tmp_path / "b", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "b", bench).status == "done"
    assert bits(tmp_path / "b", run_id) == bits(tmp_path / "a", run_id)


def test_a_run_without_diagnostics_keeps_its_identity(make_run):
    spec = make_run().spec
    assert "diagnostics" not in spec.canonical()
    assert make_run(diagnostics=WANTED).spec.run_id({}) != spec.run_id({})
