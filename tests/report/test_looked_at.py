"""Diagnostics and warnings of a run are on its page and do not enter the ranking."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import Entry, Study, make_synthetic

from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.report.runpages import describe
from zobench.report.terminal import show
from zobench.store.reader import read, read_run
from zobench.store.sql import query
from zobench.store.writer import RunFolder

TRAP = '[{"trap": "loss-zero", "detail": "a loss is exactly 0", "steps": 3, "first_step": 2}]'


@pytest.fixture
def looked_at(tmp_path: Path) -> Path:
    """Two rows on one task; one run of the first has diagnostics at two steps and a warning."""
    study = Study([Entry("mezo", 0.05), Entry("fzoo", 0.09)], {"topic": 0.7}, seeds=(0, 1), steps=4)
    folder = make_synthetic(tmp_path / "results", study)
    runs = read(folder, ["runs"]).runs
    run_id = str(runs[(runs["row"] == "mezo")].iloc[0]["run_id"])
    tables = {n: t.to_pylist() for n, t in read_run(folder, run_id).items()}
    for step, value in ((0, 0.25), (10, 0.75), (20, float("nan"))):
        like = next(m for m in tables["metrics"] if m["condition_kind"] == "clean")
        change = {"step": step, "metric": "gradient_cosine", "value": value, "final": False}
        where = {"split": "train", "condition_kind": "diagnostic", "condition": "gradient-cosine"}
        tables["metrics"].append({**like, **change, **where})
    tables["runs"][0]["warnings"] = TRAP
    RunFolder(folder / "runs" / run_id).finish("done", tables)
    return folder


def test_they_stand_on_the_page_of_the_run(looked_at: Path, tmp_path: Path):
    found = analyse(looked_at)
    described = {r["id"]: r for r in describe(found.source, found.runs, {"mezo": 0, "fzoo": 1})}
    (one,) = [r for r in described.values() if r["diagnostics"]]
    assert one["diagnostics"] == [["gradient-cosine", "gradient_cosine", 2, 0.25, 0.75, 0.5]]
    assert one["warnings"] == ["loss-zero: a loss is exactly 0 (3 steps, first 2)"]
    assert all(m[1] != "diagnostic" for m in one["metrics"])
    build(looked_at, tmp_path / "page.html", site=True)
    text = (tmp_path / "pages" / f"{one['id']}.html").read_text(encoding="utf-8")
    assert "gradient_cosine" in text
    assert "a loss is exactly 0" in text
    other = next(i for i in described if i != one["id"])
    assert "Diagnostics" not in (tmp_path / "pages" / f"{other}.html").read_text(encoding="utf-8")


def test_not_a_number_is_left_out_though_the_files_statistics_do_not_know_it(looked_at: Path):
    """DuckDB alone, told by the file that 0.25 and 0.75 are the ends, drops the condition and keeps all."""
    source = analyse(looked_at).source
    for condition in ("isfinite(value)", "not isnan(value)"):
        asked = f"select value from metrics where metric = 'gradient_cosine' and {condition} order by value"
        assert source.sql(asked)["value"].tolist() == [0.25, 0.75], condition
        assert query(asked, looked_at)["value"].tolist() == [0.25, 0.75], condition


def test_they_change_no_rank(looked_at: Path, tmp_path: Path):
    study = Study([Entry("mezo", 0.05), Entry("fzoo", 0.09)], {"topic": 0.7}, seeds=(0, 1), steps=4)
    without = analyse(make_synthetic(tmp_path / "other", study))
    assert repr(analyse(looked_at).ranking.standings) == repr(without.ranking.standings)


TRAPPED = json.dumps([{"trap": "predictions-unmoved", "detail": "", "steps": 1, "first_step": -1}])


def told_by(folder: Path) -> str:
    console = Console(file=io.StringIO(), width=300)
    show(analyse(folder), console)
    return console.file.getvalue()


def test_runs_without_effect_are_named_and_many_are_one_line_that_unfolds(looked_at: Path, tmp_path: Path):
    same = "ended with exactly the predictions of the model before training."
    runs = read(looked_at, ["runs"]).runs.sort_values("row")["run_id"]
    for i, run_id in enumerate(map(str, runs)):
        tables = {n: t.to_pylist() for n, t in read_run(looked_at, run_id).items()}
        tables["runs"][0]["warnings"] = TRAPPED
        RunFolder(looked_at / "runs" / run_id).finish("done", tables)
        if i == 0:
            assert f"fzoo on topic: 1 of 2 runs {same}" in told_by(looked_at)
    head = f"4 runs of 2 rows {same}"
    assert f"{head} (fzoo on topic: 2 of 2 runs; mezo on topic: 2 of 2 runs)" in told_by(looked_at)
    page = build(looked_at, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<summary>{head}</summary><ul><li>fzoo on topic: 2 of 2 runs</li><li>mezo on" in page
