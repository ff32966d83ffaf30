"""If lower values of the primary metric are better, targets, times, searches and marks take this into
account."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import Entry, Study, make_synthetic

from zobench.report import reaching, tuning
from zobench.report.analysis import Analysis, analyse
from zobench.report.build import build
from zobench.report.leaderboard import Leaderboard
from zobench.report.overview import headline
from zobench.report.scores import targets
from zobench.report.source import seed_curves
from zobench.report.terminal import show
from zobench.store.reader import read_run
from zobench.store.sql import query
from zobench.store.writer import RunFolder

FORGOTTEN = "forget_probability"


def turned(folder: Path, metric: str) -> Path:
    """The same runs with one minus their accuracy as their primary metric."""
    for path in sorted((folder / "runs").iterdir()):
        tables = {n: t.to_pylist() for n, t in read_run(folder, path.name).items()}
        (run,) = tables["runs"]
        run["primary_metric"] = metric
        for row in tables.get("metrics", []):
            if row["metric"] == "accuracy":
                row |= {"metric": metric, "value": 1 - row["value"]}
        RunFolder(path).finish(run["status"], tables)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores start at 0.5; ``fast`` ends at 0.05, ``slow`` at 0.3."""
    entries = [
        Entry("fast", 0.17, sd=0.0, fields={"task_kind": "unlearning"}),
        Entry("slow", -0.08, sd=0.0, fields={"task_kind": "unlearning"}),
    ]
    study = Study(
        entries, {"facts": 0.78}, shared_sd=0.0, examples=0, attacks=(), seeds=(0, 1), tuned=("fast",)
    )
    return turned(make_synthetic(tmp_path_factory.mktemp("turned"), study), FORGOTTEN)


BOARDS = {
    "forgetting": Leaderboard(
        title="x", score={"source": "run", "metric": "peak_memory_bytes"}, direction="lower"
    ),
    "its own metric": Leaderboard(title="x", direction="lower"),
}


def reached(found: Analysis) -> dict[str, reaching.Reached]:
    return {r.row: r for r in reaching.collect(found.source, found.ranking, found.runs).rows}


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_the_target_is_met_from_above_and_not_before_training(folder: Path, board: Leaderboard) -> None:
    """Every row "reached 2 of 2, median 0 forwards"."""
    found = analyse(folder, board)
    (target,) = targets(seed_curves(found.source), found.runs, board).values()
    assert not target.higher
    assert target.value == pytest.approx(0.5 + 0.9 * (0.05 - 0.5), abs=0.01)
    rows = reached(found)
    assert (rows["fast"].reached, rows["fast"].runs) == (2, 2)
    assert (rows["slow"].reached, rows["slow"].runs) == (0, 2)
    assert 0 < rows["fast"].median["forwards"] <= 600
    assert rows["slow"].restricted == 600


def test_forwards_to_target_rank_the_row_that_falls(folder: Path) -> None:
    found = analyse(folder, "forwards-to-target")
    values = found.runs.groupby("row")["value"].mean()
    assert 0 < values["fast"] < values["slow"] == 600
    assert set(found.runs.loc[found.runs["row"] == "slow", "flag"]) == {"target not reached"}


def test_a_given_target_goes_downwards_too(folder: Path) -> None:
    board = Leaderboard(title="x", score={"source": "forwards_to_target", "target": 0.4}, direction="lower")
    found = analyse(folder, board)
    assert set(found.runs["flag"]) == {""}
    assert found.runs["value"].min() > 0
    assert reaching.spoken_targets(reaching.collect(found.source, found.ranking, found.runs), {}).endswith(
        "40.0 % or less"
    )


def test_the_best_trial_is_the_least_where_no_run_says_what_the_search_went_by(folder: Path) -> None:
    """Validation scores of the trials fall from the smallest learning rate to the largest."""
    (search,) = tuning.collect(analyse(folder, BOARDS["its own metric"]).source)
    assert search["goal"] == "min"
    means = [t["mean"] for t in search["trials"]]
    assert means == sorted(means)
    assert means[0] < means[-1]


def test_a_diverged_run_does_not_count_as_chance_where_chance_is_the_goal(tmp_path: Path) -> None:
    lost = Entry("lost", status={("facts", 0): "diverged"}, fields={"task_kind": "unlearning", "chance": 0.0})
    study = Study([Entry("kept", 0.1), lost], {"facts": 0.6}, examples=0, attacks=(), seeds=(0, 1))
    results = turned(make_synthetic(tmp_path, study), FORGOTTEN)
    found = analyse(results, BOARDS["its own metric"])
    diverged = found.runs[found.runs["status"] == "diverged"]
    assert diverged["value"].isna().all()
    finals = query(f"select * from finals where metric = '{FORGOTTEN}'", results)
    assert "diverged" not in set(finals["status"])


def test_the_page_reads_the_direction_of_its_metrics(folder: Path, tmp_path: Path, open_page) -> None:
    page = build(folder, tmp_path / "page.html", leaderboard=None)
    opened = open_page(page)
    evaluate = opened.page.evaluate
    assert evaluate(f"lowerIsBetter('clean||{FORGOTTEN}')")
    assert not evaluate("lowerIsBetter('clean||accuracy')")
    assert evaluate("DATA.metrics.nll") == {"lower": True}
    assert opened.problems == []


@pytest.mark.parametrize(("direction", "marked"), [("lower", True), ("higher", False)])
def test_the_table_of_the_terminal_marks_it(folder: Path, direction: str, marked: bool) -> None:
    board = Leaderboard.model_validate({"title": "x", "direction": direction})
    out = Console(record=True, width=200, file=io.StringIO())
    show(analyse(folder, board), out)
    assert ("mean, lower is better" in out.export_text()) == marked


def test_rows_with_equal_means_share_the_lead(tmp_path: Path) -> None:
    """The lead was told of the first in the alphabet alone."""
    rows = [Entry("b", sd=0.0), Entry("a", sd=0.0), Entry("c", -0.3)]
    study = Study(rows, {"facts": 0.6}, shared_sd=0.0, examples=0, attacks=(), seeds=(0, 1))
    told = headline(analyse(make_synthetic(tmp_path, study)).ranking)
    assert told.startswith("a and b share the best mean; a is "), told


def test_no_ranking_has_its_reason(folder: Path) -> None:
    found = analyse(folder, BOARDS["its own metric"]).ranking
    method = next(s for s in found.standings if s.group == "method")
    apart = dataclasses.replace(method, ranked=False, reasons=("another budget",))
    only_apart = dataclasses.replace(found, standings=(apart,))
    assert headline(only_apart) == f"No row can be ranked: {method.row}: another budget."
    baseline = dataclasses.replace(method, ranked=False, group="control")
    only_baselines = dataclasses.replace(found, standings=(baseline,))
    assert headline(only_baselines) == "No row can be ranked: there are only baselines (group control)."
