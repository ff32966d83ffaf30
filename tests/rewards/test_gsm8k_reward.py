"""The reward of GSM8K on its real problems: right for their solutions, wrong for others, and trained on."""

from __future__ import annotations

import itertools
from pathlib import Path

from zobench.parameters import configure
from zobench.plugins import lookup
from zobench.rewards.base import Answered
from zobench.runner.execute import run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read_run
from zobench.trained_on import RewardRef


def test_every_solution_is_right_and_that_of_another_problem_is_not(real_data: Path) -> None:
    task = CATALOGUE.task(Component(name="gsm8k", params={"train": 300, "dev": 0, "test": 1}))
    examples = task.splits(1).train
    for name in ("number", "math"):
        found = lookup("rewards", name)
        reward = found(configure(found.Config, {}))
        right = [Answered("", str(e.meta["solution"]), e) for e in examples]
        assert [s.value for s in reward.scores(right)] == [1.0] * len(examples)
        pairs = itertools.pairwise(examples)
        wrong = [Answered("", str(b.meta["solution"]), a) for a, b in pairs if a.answer != b.answer]
        assert {s.value for s in reward.scores(wrong)} == {0.0}


def test_a_model_trains_on_it(real_data: Path, tmp_path: Path) -> None:
    spec = RunSpec(
        model=ModelRef(name="builtin:nano", attention="sdpa"),
        task=Component(name="gsm8k", params={"train": 20, "dev": 2, "test": 2, "max_new_tokens": 8}),
        method=Component(name="mezo", params={"lr": 1e-3, "epsilon": 1e-2}),
        seed=1,
        budget=Budget(forwards=4, batch_size=2),
        train_on=RewardRef(reward="number"),
    )
    outcome = run_one(Job(PlannedRun(row="mezo", spec=spec), "s"), tmp_path, ProcessCache(CATALOGUE))
    (run,) = read_run(tmp_path, outcome.run_id)["runs"].to_pylist()
    assert (run["status"], run["failed_scores"]) == ("done", 0)
    assert 0 < run["generated_tokens"] <= 4 * 2 * 8
