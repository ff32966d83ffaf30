"""Plans of tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.suite.plan import Plan, TuningStudy
from zobench.suite.schema import ExecutorSettings


@pytest.fixture
def make_run() -> Callable[..., PlannedRun]:
    def make(row: str = "mezo", seed: int = 0, **changes: Any) -> PlannedRun:
        params = {"lr": 0.05, "epsilon": 1e-2} if row == "mezo" else {}
        values: dict[str, Any] = {
            "model": ModelRef(name="tiny"),
            "task": Component(name="count"),
            "method": Component(name=row, params=params),
            "seed": seed,
            "budget": Budget(forwards=60, batch_size=8),
            "evaluation": Evaluation(at=(0, 20, 40, 60)),
        }
        return PlannedRun(row=row, spec=RunSpec(**{**values, **changes}))

    return make


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    def make(*runs: PlannedRun, kind: str = "inline", **more: Any) -> Plan:
        return Plan(suite="tiny", runs=runs, executor=ExecutorSettings(kind=kind), **more)

    return make


@pytest.fixture
def bench() -> ProcessCache:
    from runner_fakes import FakeParts

    return ProcessCache(FakeParts())


@pytest.fixture
def do(tmp_path: Path, bench: ProcessCache) -> Callable[..., Any]:
    """Run one planned run in this process: ``do(planned)`` -> (outcome, tables as lists of rows)."""
    from zobench.runner.execute import Control, run_one
    from zobench.store.reader import read_run

    def run(
        planned: PlannedRun, folder: Path | None = None, every: int = 7, control: Control | None = None
    ) -> Any:
        runs = folder or tmp_path / "runs"
        outcome = run_one(Job(planned, "tiny", checkpoint_every=every), runs, bench, control)
        tables = {name: t.to_pylist() for name, t in read_run(runs, outcome.run_id).items()}
        return outcome, tables

    return run


@pytest.fixture
def six(make_run, make_plan):
    return make_plan(*[make_run(row, seed) for seed in (0, 1, 2) for row in ("mezo", "nine")])


@pytest.fixture
def study(make_run):
    def build(candidates, seeds=(10, 11), sampler="grid", size=None, metric="nll", goal="min", **space):
        def template(seed, purpose):
            base = make_run(
                "mezo", seed, method=Component(name="mezo", params={"epsilon": 1e-2}), purpose=purpose
            )
            return base.model_copy(update={"tuning_of": "mezo" if purpose == "tuning" else None})

        return TuningStudy(
            row="mezo",
            model="tiny",
            task="count",
            space=space or {"lr": [c["lr"] for c in candidates]},
            sampler=sampler,
            sampler_seed=0,
            size=size or len(candidates),
            seeds=seeds,
            metric=metric,
            goal=goal,
            candidates=tuple(candidates),
            trial_templates=tuple(template(s, "tuning") for s in seeds),
            final_templates=tuple(template(s, "result") for s in (0, 1)),
        )

    return build
