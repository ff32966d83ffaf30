"""Plans of tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.suite.plan import Plan
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
