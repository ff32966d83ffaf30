"""Every shipped leaderboard is built from results that the runner has written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.report import leaderboard
from zobench.report.analysis import Analysis, analyse
from zobench.runner.scheduler import run_plan
from zobench.store import query
from zobench.suite import expand, load

SUITE = """\
suite: boards
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {params: {k: 2, validation_k: 2, test_rows: 8}}
methods:
  mezo: {tune: {space: {lr: [1e-4, 1e-3]}, seeds: [9]}}
  zo-adam: {tune: {space: {lr: [1e-4, 1e-3]}, seeds: [9]}}
  mezo as it ships: {method: mezo}
  fzoo as it ships: {method: fzoo}
  zero-shot: {method: none, group: control}
attacks:
  char-typos: {}
seeds: [1, 2]
budget: {forwards: 18, batch_size: 2}
evaluation: {at: [0, 9], test_items: 8, attack_items: 4}
diagnostics: {measure: [gradient-cosine], every: 2}
"""
TUNED, SHIPPED = {"mezo", "zo-adam"}, {"mezo as it ships", "fzoo as it ships"}
RANKED = {
    "fewshot": TUNED | SHIPPED,
    "tuned": TUNED,
    "self-tuned": SHIPPED,
    "forwards-to-target": TUNED | SHIPPED,
    "memory": TUNED | SHIPPED,
    "robustness": TUNED | SHIPPED,
    "rewards": TUNED | SHIPPED,
    "estimator-quality": TUNED | SHIPPED,
    "across-commits": TUNED | SHIPPED,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``zobench tune`` of the suite, then all of it."""
    folder = tmp_path_factory.mktemp("boards")
    suite, out = folder / "boards.yaml", folder / "out"
    suite.write_text(SUITE, encoding="utf-8")
    tuned = CliRunner().invoke(app, ["tune", str(suite), "--output", str(out), "--workers", "0"])
    assert tuned.exit_code == 0, tuned.output
    assert set(query("select purpose from runs", out)["purpose"]) == {"tuning"}
    summary = run_plan(expand(load(suite)), out, workers=0, progress=False)
    assert summary.failed == []
    assert summary.kept == 4, "the trials are those that tune made"
    return out


def ranked(found: Analysis) -> set[str]:
    return {s.row for s in found.ranking.ranked}


def test_no_shipped_board_is_forgotten() -> None:
    """Four boards have results of their own kinds: unlearning (``tests/report/test_unlearning_page.py``),
    proxies (``tests/tasks/test_proxy_task.py``) and generated images, below."""
    assert {*RANKED, "unlearning", "image-generation", "image-scoring", "proxy"} == set(leaderboard.SHIPPED)


@pytest.mark.parametrize("board", RANKED)
def test_a_shipped_board_ranks_what_it_should(results: Path, board: str) -> None:
    found = analyse(results, board)
    assert ranked(found) == RANKED[board]
    assert all(np.isfinite(s.interval.value) for s in found.ranking.ranked if s.interval is not None)
    apart = {s.row: s.reasons for s in found.ranking.standings if s.reasons}
    assert set(apart) == (TUNED | SHIPPED) - RANKED[board]
    assert all("not under the" in reasons[0] for reasons in apart.values())


def test_estimator_quality_is_the_mean_reading_per_root_of_what_a_step_costs(results: Path) -> None:
    found = analyse(results, "estimator-quality").runs.set_index("run_id")
    said = query(
        "select run_id, avg(value) as cosine, any_value(r.forwards / r.steps) as cost from metrics m "
        "join runs r using (run_id) where metric = 'gradient_cosine' and purpose = 'result' group by run_id",
        results,
    ).set_index("run_id")
    assert set(said["cost"].round()) >= {2, 9}, "MeZO and FZOO differ in cost"
    expected = said["cosine"] / np.sqrt(said["cost"])
    assert found.loc[said.index, "value"].to_numpy() == pytest.approx(expected.to_numpy())


def test_the_search_is_charged_and_told_by_the_run(results: Path) -> None:
    runs = analyse(results).runs
    chosen = json.loads((results / "tuning.json").read_text(encoding="utf-8"))
    for row, group in runs.groupby("row"):
        assert set(group["tuning_forwards"] > 0) == {row in TUNED}
        environments = [json.loads(e) for e in group["environment"]]
        if row in TUNED:
            assert {e["parameters_from"] for e in environments} == {"tuning"}
            (choice,) = [c for c in chosen if c["row"] == row]
            searches = [e["tuning"] for e in environments]
            assert all(s["winner"] == choice["winner"] for s in searches)
            assert all(s["forwards"] == choice["forwards"] == 2 * 18 for s in searches)
            assert [t["params"] for t in choice["trials"]] == [{"lr": 1e-4}, {"lr": 1e-3}]


IMAGES = """\
suite: images
ruleset: open
models:
  nano-flow: {name: "builtin:nano-flow"}
tasks:
  flow-inversion: {params: {steps: 2}}
methods:
  flowopt: {params: {lr: 0.3}, space: &code {kind: names, params: {include: [code]}}}
  mezo: {params: {lr: 1e-3}, space: *code}
seeds: [1, 2]
budget: {forwards: 6, batch_size: 1}
"""


def test_the_board_of_generated_images_ranks_by_their_similarity(tmp_path: Path) -> None:
    suite = tmp_path / "images.yaml"
    suite.write_text(IMAGES, encoding="utf-8")
    assert run_plan(expand(load(suite)), tmp_path / "out", workers=0, progress=False).failed == []
    found = analyse(tmp_path / "out", "image-generation")
    assert ranked(found) == {"flowopt", "mezo"}
    values = [s.interval.value for s in found.ranking.ranked if s.interval is not None]
    assert len(values) == 2
    assert values == sorted(values, reverse=True)
    assert all(10 < value < 100 for value in values), "decibels"


def test_the_board_of_scored_images_ranks_by_the_score(tmp_path: Path) -> None:
    suite = tmp_path / "scored.yaml"
    scored = IMAGES.replace("flow-inversion: {params: {steps: 2}}", "flow-scoring: {params: {steps: 2}}")
    suite.write_text(scored.replace("flowopt: {params: {lr: 0.3}", "zo-ranksgd: {params: {lr: 0.3, n: 3}"))
    assert run_plan(expand(load(suite)), tmp_path / "out", workers=0, progress=False).failed == []
    found = analyse(tmp_path / "out")
    assert found.board.name == "image-scoring"
    assert ranked(found) == {"zo-ranksgd", "mezo"}
    values = [s.interval.value for s in found.ranking.ranked if s.interval is not None]
    assert values == sorted(values, reverse=True)
    assert all(0 < value < 1 for value in values)
