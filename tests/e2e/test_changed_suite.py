"""If a suite is edited and run again in its folder, results are those of the new version, not averages over
both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.report.analysis import analyse
from zobench.report.build import html
from zobench.store import compact, read

SUITE = """\
suite: small
models: {{nano: {{name: "builtin:nano"}}}}
tasks: {{nano-topic: {{}}}}
methods:
  mezo: {{params: {{lr: {lr}}}}}
  zero-shot: {{method: none, group: control}}
seeds: [1, 2]
budget: {{forwards: {forwards}}}
evaluation: {{test_items: 10}}
"""
COMMAND = CliRunner()


def ran(folder: Path, *more: str, lr: str = "1e-3", forwards: int = 4) -> str:
    folder.mkdir(exist_ok=True)
    suite = folder / "suite.yaml"
    suite.write_text(SUITE.format(lr=lr, forwards=forwards))
    output = str(folder / "results")
    found = COMMAND.invoke(app, ["run", str(suite), "--output", output, "--workers", "0", *more])
    assert found.exit_code == 0, found.output
    return found.output


def counted(folder: Path) -> set[str]:
    runs = analyse(folder / "results").runs
    return set(runs.loc[runs["row"] == "mezo", "method_params"])


@pytest.mark.parametrize("compacted", [False, True])
def test_a_changed_learning_rate_replaces_its_past(tmp_path: Path, compacted: bool) -> None:
    ran(tmp_path)
    if compacted:
        compact(tmp_path / "results")
    said = ran(tmp_path, lr="1e-2")
    found = analyse(tmp_path / "results")
    mezo = found.runs[found.runs["row"] == "mezo"]
    assert [json.loads(p)["lr"] for p in mezo["method_params"]] == [0.01, 0.01]
    assert "2 other runs in the folder are not in the current suite" in said
    assert "2 other runs in the folder are not in the current suite" in html(found)
    everything = analyse(tmp_path / "results", every=True)
    assert sorted(everything.runs.groupby("row").size()) == [2, 2, 2]


def test_going_back_shows_the_first_runs_again(tmp_path: Path) -> None:
    ran(tmp_path)
    first = counted(tmp_path)
    ran(tmp_path, lr="1e-2")
    assert counted(tmp_path) != first
    ran(tmp_path)
    assert counted(tmp_path) == first


def test_a_changed_budget_is_not_averaged_with_the_old_one(tmp_path: Path) -> None:
    ran(tmp_path)
    ran(tmp_path, forwards=8)
    runs = analyse(tmp_path / "results").runs
    assert set(runs.loc[runs["row"] == "mezo", "budget_forwards"]) == {8}


def test_one_row_alone_does_not_narrow_the_plan(tmp_path: Path) -> None:
    ran(tmp_path)
    ran(tmp_path, "--only", "zero-shot")
    assert set(analyse(tmp_path / "results").runs["row"]) == {"mezo", "zero-shot"}


def test_without_a_plan_several_runs_are_listed_and_a_suite_chooses(tmp_path: Path) -> None:
    ran(tmp_path)
    ran(tmp_path, lr="1e-2")
    results = tmp_path / "results"
    (results / "runs" / "plan.json").unlink()
    found = COMMAND.invoke(app, ["report", str(results)])
    assert found.exit_code == 2
    assert "several runs of one row, task, model and seed" in found.output
    assert "--suite FILE" in found.output
    page = tmp_path / "page.html"
    command = ["report", str(results), "--suite", str(tmp_path / "suite.yaml"), "--output", str(page)]
    found = COMMAND.invoke(app, command)
    assert found.exit_code == 0, found.output
    assert "2 other runs in the folder are not in the current suite" in page.read_text()


@pytest.mark.parametrize("compacted", [False, True])
def test_prune_lists_and_with_yes_removes(tmp_path: Path, compacted: bool) -> None:
    ran(tmp_path)
    ran(tmp_path, lr="1e-2")
    results = tmp_path / "results"
    if compacted:
        compact(results)
    found = COMMAND.invoke(app, ["prune", str(results)])
    assert "2 runs that are not in the suite" in found.output
    assert len(read(results).runs) == 6
    wanted = set(analyse(results).runs["run_id"])
    found = COMMAND.invoke(app, ["prune", str(results), "--yes"])
    assert found.exit_code == 0
    assert "2 runs removed" in found.output
    left = read(results)
    assert set(left.runs["run_id"]) == wanted == set(left.metrics["run_id"])


def test_a_merge_of_two_settings_of_one_row_is_refused(tmp_path: Path) -> None:
    ran(tmp_path / "a")
    ran(tmp_path / "b", lr="1e-2")
    with pytest.raises(ValueError, match="several runs of one row, task, model and seed"):
        analyse([tmp_path / "a" / "results", tmp_path / "b" / "results"])


def test_another_leaderboard_has_a_page_of_its_own(tmp_path: Path) -> None:
    ran(tmp_path)
    results = tmp_path / "results"
    before = (results / "index.html").read_text()
    found = COMMAND.invoke(app, ["report", str(results), "--leaderboard", "forwards-to-target"])
    assert found.exit_code == 0, found.output
    assert (results / "forwards-to-target.html").exists()
    assert (results / "index.html").read_text() == before
