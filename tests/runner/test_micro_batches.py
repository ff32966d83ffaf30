"""Minibatches computed in parts: equal loss, a separate run identity, and the part size named after running
out of memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from runner_fakes import CountConfig, CountTask, FakeParts

from zobench.parameters import configure
from zobench.runner.execute import run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.losses import items_of, loss_of
from zobench.runner.micro_batches import parts_of
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, ModelRef, RunSpec
from zobench.store.reader import read_run
from zobench.suite import SuiteError, expand, load

SUITE = """
suite: parts
models: {{nano: {{name: "builtin:nano"}}}}
tasks: {{nano-sentiment: {{}}}}
methods: {{mezo: {{{row}}}}}
seeds: [1]
budget: {{forwards: 8, batch_size: 6{budget}}}
"""


@pytest.fixture(scope="module")
def nano() -> ProcessCache:
    return ProcessCache(CATALOGUE)


def spec(task, micro=None, size=7):
    return RunSpec(
        model=ModelRef(name="builtin:nano"),
        task=Component(name=task),
        method=Component(name="mezo"),
        seed=3,
        budget=Budget(forwards=8, batch_size=size, micro_batch=micro),
    )


@pytest.mark.parametrize("micro", [1, 2, 3, 7])
@pytest.mark.parametrize("task", ["nano-sentiment", "nano-problems"])
def test_the_loss_in_parts_is_that_of_the_whole(nano, task, micro):
    """Parts of unequal size; ``nano-problems`` is a mean over answer tokens, of which examples have unlike
    numbers."""
    whole, parts = spec(task), spec(task, micro)
    lm, found = nano.model(whole.model), nano.data(whole).task
    one, split = nano.minibatch(whole, 0), nano.minibatch(parts, 0)
    assert [n for _, n in parts_of(split)] == [micro] * (7 // micro) + ([7 % micro] if 7 % micro else [])
    assert (split.sequences, split.tokens) == (one.sequences, one.tokens)
    with torch.no_grad():
        expected = float(loss_of(whole, lm, found)(lm.module, one))
        assert float(loss_of(parts, lm, found)(lm.module, split)) == pytest.approx(expected, rel=1e-5)
        items = items_of(parts, lm, found)(lm.module, split)
    assert float(items.mean()) == pytest.approx(expected, rel=1e-5)
    assert len(items) == len(items_of(whole, lm, found)(lm.module, one))


def test_an_average_of_averages_would_be_another_loss(nano):
    """What the weights are for."""
    parts = spec("nano-problems", 3)
    lm, found = nano.model(parts.model), nano.data(parts).task
    split = nano.minibatch(parts, 0)
    with torch.no_grad():
        right = float(loss_of(parts, lm, found)(lm.module, split))
        plain = [float(found.loss(lm, lm.module, part)) for part, _ in parts_of(split)]
    assert abs(sum(plain) / len(plain) - right) > 1e-3


def test_a_task_that_does_not_tell_its_items_counts_examples():
    bench = ProcessCache(FakeParts())
    whole = spec("count").model_copy(update={"model": ModelRef(name="tiny")})
    parts = whole.model_copy(update={"budget": Budget(forwards=8, batch_size=7, micro_batch=3)})
    lm, task = bench.model(whole.model), bench.data(whole).task
    expected = float(loss_of(whole, lm, task)(lm.module, bench.minibatch(whole, 0)))
    found = float(loss_of(parts, lm, task)(lm.module, bench.minibatch(parts, 0)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_key_is_part_of_the_identity_only_where_it_is_set():
    plain = spec("nano-sentiment")
    assert "micro_batch" not in json.loads(plain.canonical())["budget"]
    assert spec("nano-sentiment", 2).run_id({}) != plain.run_id({})


class Small(CountTask):
    """Memory for three examples at a time."""

    def loss(self, lm, module, batch):
        if len(batch.inputs["ids"]) > 3:
            raise torch.OutOfMemoryError("no room for them")
        return super().loss(lm, module, batch)


class Parts(FakeParts):
    def task(self, component):
        return Small(configure(CountConfig, component.params))


def made(planned, folder: Path):
    outcome = run_one(Job(planned, "tiny"), folder, ProcessCache(Parts()))
    return outcome, read_run(folder, outcome.run_id)["runs"].to_pylist()[0]


def test_out_of_memory_names_what_fits_and_that_runs(make_run, tmp_path):
    outcome, row = made(make_run(), tmp_path)
    assert outcome.status == row["status"] == "out_of_memory"
    assert "in step 0 with 8 examples at a time (OutOfMemoryError: no room for them)" in outcome.error
    assert outcome.error.endswith("a forward pass of 2 fits: write 'micro_batch: 2' in 'budget'")
    outcome, row = made(make_run(budget=Budget(forwards=60, batch_size=8, micro_batch=2)), tmp_path)
    assert (outcome.status, row["forwards"], row["steps"], row["sequences"]) == ("done", 60, 30, 480)


def test_a_method_with_gradients_is_not_promised_less_memory(make_run, tmp_path):
    outcome, _ = made(make_run("adamw", method=Component(name="adamw")), tmp_path)
    assert outcome.status == "out_of_memory"
    assert "micro_batch does not help this row" in outcome.error


def plan_of(tmp_path, row="", budget=""):
    (tmp_path / "parts.yaml").write_text(SUITE.format(row=row, budget=budget))
    return expand(load(tmp_path / "parts.yaml"))


def test_suites_take_it_for_all_rows_or_one(tmp_path):
    assert plan_of(tmp_path, budget=", micro_batch: 2").runs[0].spec.budget.micro_batch == 2
    assert plan_of(tmp_path, row="budget: {micro_batch: 3}").runs[0].spec.budget.micro_batch == 3
    assert plan_of(tmp_path).runs[0].spec.budget.micro_batch is None


@pytest.mark.parametrize("row", ["train_on: accuracy", "loss_dtype: logits"])
def test_what_cannot_be_computed_in_parts_is_refused(tmp_path, row):
    with pytest.raises(SuiteError, match=r"cannot be computed in parts \(budget\.micro_batch\)"):
        plan_of(tmp_path, row=row, budget=", micro_batch: 2")
