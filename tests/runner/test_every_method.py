"""Every built-in method in a suite with the built-in model: it runs to ``done``, or planning refuses it.

By default only methods with special requirements for the run or the model are tested; with ``-m slow`` all
others.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from zobench.plugins import entries
from zobench.runner.execute import run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import PlannedRun
from zobench.store.reader import read_run
from zobench.suite import SuiteError, expand, load

METHODS = {name: e for name, e in entries("methods").items() if e.origin == "builtin"}
SPACE_PARAMS = {"scales": "group: 64", "codes": "group: 64", "lora": "r: 4"}
"""What fits a model of width 320; the defaults are made for larger ones."""
NEEDY = (
    "mezo",
    "mezo-svrg",
    "addax",
    "meerkat",
    "forward-gradient",
    "qzo",
    "zeroqat",
    "p-rge",
    "adamw",
    "none",
)
SUITE = """
suite: every-method
models: {{nano: {{name: "builtin:nano"}}}}
tasks: {{nano-sentiment: {{}}}}
methods: {{{name}: {{params: {params}, space: {{kind: {kind}, params: {{{space}}}}}}}}}
seeds: [1]
budget: {{forwards: {forwards}, batch_size: 2}}
evaluation: {{at: [0], test_items: 2}}
"""


@pytest.fixture(scope="module")
def nano() -> ProcessCache:
    return ProcessCache(CATALOGUE)


def planned(name: str, folder: Path, kind: str | None = None) -> PlannedRun:
    """The row's one run: about ten steps of cheap methods, two of dear ones."""
    method: Any = METHODS[name].load()
    given: dict[str, Any] = {}
    if method.cost(method.Config()).max_forwards_in_step > 100:
        given = dict(method.small_problem)
    cost = method.cost(method.Config(**given))
    kind = kind or space_of(name)
    text = SUITE.format(
        name=name,
        params=json.dumps(given),
        kind=kind,
        space=SPACE_PARAMS.get(kind, ""),
        forwards=cost.preparation_forwards + max(20, 2 * cost.max_forwards_in_step),
    )
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    (run,) = expand(load(path)).runs
    return run


def space_of(name: str) -> str:
    spaces = METHODS[name].load().card.spaces
    return "full" if "*" in spaces or "full" in spaces else spaces[0]


@pytest.mark.parametrize("name", NEEDY)
def test_it_runs_to_done(name, nano, tmp_path):
    runs_to_done(name, nano, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in METHODS if n not in (*NEEDY, "flowopt", "zo-ae-ds")])
def test_the_others_run_to_done(name, nano, tmp_path):
    runs_to_done(name, nano, tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [("flowopt", "tasks of kind image-generation"), ("zo-ae-ds", "the task smoothed-images")],
)
def test_a_method_that_needs_another_objective_is_refused_at_planning(name, told, tmp_path):
    with pytest.raises(SuiteError, match=told):
        planned(name, tmp_path)


def runs_to_done(name, nano, tmp_path):
    run = planned(name, tmp_path)
    outcome = run_one(Job(run, "every-method"), tmp_path, nano)
    assert outcome.status == "done", outcome.error
    row, steps = (read_run(tmp_path, outcome.run_id).get(n) for n in ("runs", "steps"))
    spent = row.to_pylist()[0]["forwards"]
    if run.spec.budget.forwards == 0:
        assert spent == 0
        assert steps is None
        return
    assert 0 < spent <= run.spec.budget.forwards
    losses = steps["loss"].to_pylist()
    assert len(losses) >= 2
    assert all(math.isfinite(x) for x in losses)


@pytest.mark.parametrize("name", [n for n in METHODS if space_of(n) != "full"])
def test_a_space_that_it_does_not_support_is_refused_at_planning(name, tmp_path):
    with pytest.raises(SuiteError, match="does not support the parameter space 'full'"):
        planned(name, tmp_path, kind="full")


def test_forward_mode_loads_the_model_with_attention_written_out_and_says_so(tmp_path):
    run = planned("forward-gradient", tmp_path)
    assert run.spec.model.attention == "eager"
    assert "eager" in run.note
    other = planned("mezo", tmp_path)
    assert other.spec.model.attention == "sdpa"
    assert other.note == ""
