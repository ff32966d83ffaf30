"""The page of runs that train on a reward shows generated tokens as a cost; other pages do not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from zobench.report.build import build
from zobench.runner.execute import run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read_run
from zobench.trained_on import RewardRef


@pytest.fixture(scope="module")
def bench() -> ProcessCache:
    return ProcessCache(CATALOGUE)


def page(folder: Path, bench: ProcessCache, *objectives: RewardRef | str) -> tuple[str, list[dict]]:
    """The page of one run per objective, and the records of the runs."""
    records = []
    for number, objective in enumerate(objectives):
        spec = RunSpec(
            model=ModelRef(name="builtin:nano-countdown", attention="sdpa"),
            task=Component(name="countdown", params={"test_rows": 6}),
            method=Component(name="mezo", params={"lr": 1e-3, "epsilon": 1e-2}),
            seed=1,
            budget=Budget(forwards=4, batch_size=2),
            evaluation=Evaluation(at=(0, 2)),
            train_on=objective,
        )
        outcome = run_one(Job(PlannedRun(row=f"row {number}", spec=spec), "s"), folder / "runs", bench)
        records += read_run(folder / "runs", outcome.run_id)["runs"].to_pylist()
    return build(folder, folder).read_text(encoding="utf-8"), records


def axes(html: str) -> list[str]:
    (found,) = re.findall(r'"axes":\s*(\[[^\]]*\])', html)
    return json.loads(found)


def test_generated_tokens_are_a_column_and_an_axis(tmp_path: Path, bench: ProcessCache) -> None:
    html, (one, other) = page(tmp_path, bench, RewardRef(reward="countdown"), "loss")
    assert axes(html)[-1] == "generated tokens"
    assert html.count('data-key="generated_tokens"') == 2
    assert one["generated_tokens"] > 0
    assert other["generated_tokens"] is None
    assert f'data-sort="{float(one["generated_tokens"])}"' in html


def test_other_pages_have_no_such_column(tmp_path: Path, bench: ProcessCache) -> None:
    html, _ = page(tmp_path, bench, "loss")
    assert "generated tokens" not in axes(html)
    assert 'data-key="generated_tokens"' not in html
