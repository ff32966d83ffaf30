"""Columns that are empty in a run of the tiny task: answers and costs of a reward, pictures, artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_columns import changer

from zobench.runner.execute import run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read
from zobench.trained_on import RewardRef
from zobench.verification import Demands, add_to_results, verify_submission, write_submission
from zobench.verification.bindings import BINDINGS
from zobench.verification.submission import read_submission

DIGITS = {"classes": [5, 6, 7, 8, 9], "k": 4, "validation_k": 2, "test_rows": 20}
RUNS = {
    "images": {
        "model": ModelRef(name="builtin:nano-cnn", head=5),
        "task": Component(name="mnist-5k", params=DIGITS),
        "budget": Budget(forwards=4, batch_size=4),
    },
    "reward": {
        "model": ModelRef(name="builtin:nano-countdown", attention="sdpa"),
        "task": Component(name="countdown", params={"test_rows": 4}),
        "budget": Budget(forwards=4, batch_size=2),
        "train_on": RewardRef(reward="format"),
    },
}
COSTS = ("generated_tokens", "judge_tokens", "failed_scores")
CHECKED = [
    *(("images", "predictions", "picture"), ("images", "metrics", "stderr")),
    *(("reward", "predictions", c) for c in ("raw", "strict_correct")),
]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One submission of each kind."""
    folder, bench = tmp_path_factory.mktemp("kinds"), ProcessCache(CATALOGUE)
    made = {}
    for kind, settings in RUNS.items():
        method = Component(name="mezo", params={"lr": 1e-3, "epsilon": 1e-2})
        spec = RunSpec(method=method, seed=1, evaluation=Evaluation(), **settings)
        outcome = run_one(Job(PlannedRun(row="mezo", spec=spec), "tiny"), folder / kind / "runs", bench)
        assert not outcome.error, outcome.error
        made[kind] = write_submission(folder / kind, outcome.run_id, folder / f"{kind}.zip")
    return made


@pytest.mark.parametrize("kind", RUNS)
def test_an_honest_run_is_verified(honest, kind):
    report = verify_submission(honest[kind], Demands(steps=None))
    assert report.passed, str(report)
    assert report.exact == report.steps == 2


@pytest.mark.parametrize(("kind", "table", "column"), CHECKED)
def test_a_changed_value_fails(honest, tampered, kind, table, column):
    assert BINDINGS[table][column] == "failed"
    assert any(row[column] is not None for row in getattr(read_submission(honest[kind]), table))
    report = verify_submission(tampered(honest[kind], changer(table, column)), Demands(steps=None))
    assert column in str({f.check: f.detail for f in report.failures()}["test metrics"])


def test_a_mask_that_is_another_fails(submitted, tampered, verify):
    file = submitted("meerkat", method=Component(name="meerkat", params={"lr": 0.05, "density": 0.5}))
    assert read_submission(file).run["artifacts_digest"] is not None
    assert not verify(tampered(file, changer("runs", "artifacts_digest")), steps=None).passed


def test_costs_of_a_reward_are_claims_that_are_left_out(honest, tampered, tmp_path):
    def change(head, tables):
        for column in COSTS:
            for row in (head["run"], *tables["steps"]):
                row[column] += 1

    claimed = read_submission(honest["reward"])
    assert claimed.run["generated_tokens"] > 0
    report = verify_submission(tampered(honest["reward"], change), Demands(steps=None))
    assert report.passed, str(report)
    told = next(f.detail for f in report.findings if f.check == "claimed")
    add_to_results(report, tmp_path / "board")
    found = read(tmp_path / "board")
    for column in COSTS:
        assert column in told
        assert found.runs[column].isna().all()
        assert found.steps[column].isna().all()
