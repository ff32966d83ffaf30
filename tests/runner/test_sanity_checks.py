"""Sanity checks of a run: each problem is provoked, recorded and shown; a normal run has no warning."""

from __future__ import annotations

import io
import json

import pytest
import torch
from rich.console import Console

from zobench.cli.finding import FoundRun
from zobench.cli.run_view import print_run
from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.spec import Component
from zobench.zo import Engine, Objective, build_space
from zobench.zo.methods.mezo import Mezo
from zobench.zo.sanity_checks import SanityWatch, unresolved_share

CASES = {
    "loss-zero": ("mezo", {"lr": 0.05}, {"loss_factor": 0.0}, 0, 30),
    "no-difference": ("mezo", {"lr": 0.05}, {"loss_factor": 0.0}, 0, 30),
    "sigma-zero": ("fzoo", {"lr": 0.05}, {"loss_factor": 0.0}, 0, 6),
    "epsilon-below-resolution": ("mezo", {"lr": 0.05, "epsilon": 1e-9}, {}, -1, 1),
    "update-underflow": ("mezo", {"lr": 1e-12, "epsilon": 1e-2}, {}, 0, 6),
}
"""Method, its parameters, the task's, the first step and how many steps of it."""


def warnings_of(tables):
    text = tables["runs"][0]["warnings"]
    return {w["trap"]: w for w in json.loads(text)} if text else {}


@pytest.mark.parametrize("trap", CASES)
def test_a_provoked_trap_is_recorded_and_shown(trap, make_run, do, tmp_path):
    row, params, task, first, steps = CASES[trap]
    method = Component(name=row, params=params)
    outcome, tables = do(make_run(row, method=method, task=Component(name="count", params=task)))
    found = warnings_of(tables)
    assert trap in found
    assert (found[trap]["first_step"], found[trap]["steps"]) == (first, steps)
    out = Console(file=io.StringIO(), width=160)
    print_run(FoundRun(tmp_path / "runs", outcome.run_id, outcome.status), out)
    assert trap in out.file.getvalue()


@pytest.mark.parametrize(
    "row", ["mezo", "fzoo", "zo-adam", "zo-muon", "meerkat", "lezo", "deepzero", "sgd", "none"]
)
def test_an_ordinary_run_has_none(row, make_run, do):
    params = {"meerkat": {"density": 0.3, "lr": 1e-3}, "deepzero": {"n": 4, "pruning_queries": 2}}
    fast = {"mezo": {"lr": 0.05, "epsilon": 1e-2}, "lezo": {"lr": 0.05}}
    outcome, tables = do(make_run(row, method=Component(name=row, params={**params, **fast}.get(row, {}))))
    assert outcome.status == "done"
    # A few steps at a paper's default rate need not change a prediction, and the run says so.
    assert set(warnings_of(tables)) <= {"predictions-unmoved"}


def test_resumed_it_remembers(make_run, bench, tmp_path):
    from test_resume import bits

    task = Component(name="count", params={"loss_factor": 0.0})
    job = Job(make_run(task=task), checkpoint_every=3)
    run_id = run_one(job, tmp_path / "a", bench).run_id
    seen: list[dict] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 7)
    assert run_one(job, tmp_path / "b", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "b", bench).status == "done"
    assert bits(tmp_path / "b", run_id) == bits(tmp_path / "a", run_id)


@pytest.mark.parametrize(("precision", "trapped"), [("nearest", True), ("compensated", False)])
def test_half_precision_underflows_only_where_the_rest_is_lost(precision, trapped):
    module = torch.nn.Linear(8, 8, bias=False).to(torch.bfloat16)
    torch.nn.init.constant_(module.weight, 1.0)
    space = build_space("full", {}, module)
    config = Mezo.Config(lr=1e-5, epsilon=0.5)
    optimizer = Mezo(config, space, seed=0, engine=Engine(precision=precision))
    objective = Objective(module, lambda m, batch: m(batch).float().square().mean())
    objective.set_batch(torch.ones(1, 8, dtype=torch.bfloat16), sequences=1, tokens=8)
    watch = SanityWatch(optimizer)
    watch.begin()
    watch.before(0)
    watch.after(optimizer.step(objective))
    assert ("update-underflow" in watch.found) == trapped


def test_resolution_of_a_weight_is_half_its_last_place():
    module = torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.99, 2.0, 0.0]]))
    space = build_space("full", {}, module)
    ulp = torch.finfo(torch.float32).eps
    assert unresolved_share(space, 0.6 * ulp) == 0.25  # half a unit at 2 is eps, at 1 half of it
    assert unresolved_share(space, 0.4 * ulp) == 0.5
    assert unresolved_share(space, 0.2 * ulp) == 0.75  # 0.99 lies a binade lower; zero has no last place
    for w, epsilon in ((1.0, 0.6 * ulp), (2.0, 0.9 * ulp)):
        still = torch.tensor(w) + torch.tensor(epsilon) == torch.tensor(w)
        assert bool(still) == (w == 2.0)
