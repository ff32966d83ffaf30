"""The runner tests' tiny model and task, a submission of one run, and hands that tamper with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runner"))

from runner_fakes import FakeParts

from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.store.schema import SCHEMA_VERSION
from zobench.store.writer import parquet_bytes, to_table
from zobench.verification import submission as form
from zobench.verification import verify_submission, write_submission
from zobench.verification.report import Demands, VerificationReport


def make_spec(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "model": ModelRef(name="tiny"),
        "task": Component(name="count"),
        "method": Component(name="mezo", params={"lr": 0.05, "epsilon": 1e-2}),
        "seed": 3,
        "budget": Budget(forwards=24, batch_size=8),
        "evaluation": Evaluation(),
    }
    return RunSpec(**{**values, **changes})


@pytest.fixture
def submitted(tmp_path: Path) -> Callable[..., Path]:
    """``submitted(method=...)``: does the run and writes its submission."""

    def make(row: str = "mezo", **changes: Any) -> Path:
        planned = PlannedRun(row=row, spec=make_spec(**changes))
        outcome = run_one(
            Job(planned, "tiny", command=("secret", "path")), tmp_path / "runs", ProcessCache(FakeParts())
        )
        return write_submission(tmp_path, outcome.run_id, tmp_path / "submissions" / f"{outcome.run_id}.zip")

    return make


@pytest.fixture
def tampered() -> Callable[..., Path]:
    """``tampered(file, change)``: the same file after ``change(head, tables)``."""

    def make(file: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Path:
        found = form.read_submission(file)
        head = {
            "format": form.FORMAT,
            "version": form.VERSION,
            "schema_version": SCHEMA_VERSION,
            "run": dict(found.run),
            "spec": found.spec.model_dump(mode="json"),
            "environment": found.environment,
        }
        tables = {name: getattr(found, name) for name in form.CARRIED}
        change(head, tables)
        parts = {form.HEAD: json.dumps(head).encode()}
        parts |= {f"{n}.parquet": parquet_bytes(to_table(n, rows)) for n, rows in tables.items()}
        target = file.with_name("tampered.zip")
        target.write_bytes(form._zipped(parts))
        return target

    return make


@pytest.fixture
def verify() -> Callable[..., VerificationReport]:
    def check(file: Path, **demands: Any) -> VerificationReport:
        return verify_submission(file, Demands(**demands), parts="runner_fakes:PARTS")

    return check
