"""Planned unlearning runs of tiny models, and their execution in this process."""

from __future__ import annotations

import pytest
from unlearning_runs import PARTS, resolved_data, write_files

from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, ModelRef, PlannedRun, RunSpec, Unlearning
from zobench.store.reader import read_run
from zobench.suite.components import resolved

PROBES = (
    resolved("probes", "relearn", {"steps": [0, 2], "rates": [1e-3, 3e-3]}),
    resolved("probes", "quantize", {"bits": [4], "groups": [0]}),
    resolved("probes", "rephrase", {}),
)


@pytest.fixture
def make(tmp_path):
    files = write_files(tmp_path)

    def planned(
        row="adamw",
        objective="npo",
        role="unlearn",
        seed=0,
        method=("adamw", {"lr": 1e-3}),
        section=None,
        params=None,
        **changes,
    ):
        name, given = method if role == "unlearn" else ("none", {})
        data = resolved_data(files)
        facts = {
            "role": role,
            "data": data,
            "oracle": ModelRef(name="oracle"),
            "probes": PROBES,
            "check_every": 4,
            "scored_retain": 1.0,
            "truth": False,
            "match_forget": 0.5,
            "match_retain": 0.9,
            **(section or {}),
        }
        values = {
            "model": ModelRef(name="full"),
            "task": resolved("objectives", objective, params or {}),
            "method": resolved("methods", name, given),
            "seed": seed,
            "budget": Budget(forwards=48 if role == "unlearn" else 0, batch_size=4),
            "unlearning": Unlearning(**facts),
        }
        group = "method" if role == "unlearn" else "control"
        return PlannedRun(row=row, group=group, spec=RunSpec(**{**values, **changes}))

    return planned


@pytest.fixture(scope="module")
def bench():
    return ProcessCache(PARTS)


@pytest.fixture
def do(tmp_path, bench):
    def run(planned, folder=None, every=2, control=None):
        runs = folder or tmp_path / "runs"
        outcome = run_one(Job(planned, "tiny", checkpoint_every=every), runs, bench, control)
        return outcome, {n: t.to_pylist() for n, t in read_run(runs, outcome.run_id).items()}

    return run
