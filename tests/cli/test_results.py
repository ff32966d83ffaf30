"""Commands that read results, on a results folder written by the store's own writer."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zobench.cli import app, interrupting
from zobench.cli import suites as suite_commands
from zobench.cli.tuned import selections
from zobench.spec import PlannedRun
from zobench.store.writer import RunFolder
from zobench.suite import expand, load

SUITE = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-topic: {}
methods:
  mezo: {}
  zero-shot: {group: control}
  fzoo: {tune: {space: {lr: [1e-3, 1e-2, 1e-1]}, seeds: [101, 102]}}
attacks:
  char-typos: {}
seeds: [1, 2]
budget: {forwards: 100}
"""


def write_run(
    results: Path, planned: PlannedRun, value: float, attacked: float = 0.5, status: str = "done"
) -> str:
    """A finished run whose primary metric is ``value``, with a curve of two points."""
    spec = planned.spec
    run_id = spec.run_id({})
    split = "validation" if spec.purpose == "tuning" else "test"
    place = {"run_id": run_id, "task": spec.task.name, "split": split, "n": 10}
    clean = {**place, "condition_kind": "clean", "condition": "", "metric": "accuracy"}
    metrics: list[dict[str, Any]] = [
        {**clean, "forwards": 50, "value": value / 2, "final": False},
        {**clean, "forwards": 100, "value": value, "final": True},
    ]
    if spec.purpose == "result":
        for kind, left in (("attack", attacked), ("null", value)):
            about = {"condition_kind": kind, "condition": "char-typos", "metric": "accuracy"}
            metrics.append({**place, **about, "forwards": 100, "value": left, "final": True})
    run = {
        "run_id": run_id, "suite": "small", "row": planned.row, "group": planned.group,
        "purpose": spec.purpose,
        "tuning_of": planned.tuning_of, "status": status, "model": spec.model.name, "task": spec.task.name,
        "task_params": "{}", "method": spec.method.name, "primary_metric": "accuracy", "seed": spec.seed,
        "forwards": 100, "spec": spec.model_dump_json(),
    }  # fmt: skip
    steps = [{"run_id": run_id, "step": i, "forwards": 2 * i + 2, "loss": 1 / (i + 1)} for i in range(50)]
    folder = RunFolder(results / "runs" / run_id)
    folder.path.mkdir(parents=True)
    folder.write_json("spec.json", planned.model_dump(mode="json"))
    folder.finish(status, {"runs": [run], "metrics": metrics, "steps": steps})
    return run_id


@pytest.fixture
def results(tmp_path: Path, fake_catalogues: None) -> Path:
    """Four finished runs: mezo at 0.8 and 0.9, zero-shot at 0.25."""
    (tmp_path / "small.yaml").write_text(SUITE)
    for planned in expand(load(tmp_path / "small.yaml")).runs:
        value = 0.25 if planned.row == "zero-shot" else 0.7 + planned.spec.seed / 10
        write_run(tmp_path / "out", planned, value)
    return tmp_path / "out"


def test_query_prints_a_table_or_csv(cli: CliRunner, results: Path) -> None:
    sql = "select row, count(*) as n from runs group by row order by row"
    found = cli.invoke(app, ["query", sql, str(results), "--csv"])
    assert found.exit_code == 0, found.output
    assert found.output.split() == ["row,n", "mezo,2", "zero-shot,2"]
    assert "zero-shot" in cli.invoke(app, ["query", sql, str(results)]).output


@pytest.mark.parametrize("sql", ["selct 1", "select nothing from runs", "select * from rnus"])
def test_a_wrong_query_is_a_message(cli: CliRunner, results: Path, sql: str) -> None:
    found = cli.invoke(app, ["query", sql, str(results)])
    assert found.exit_code == 2
    assert "error:" in found.stderr
    assert "Traceback" not in found.stderr


def test_query_of_no_folder_is_a_message(cli: CliRunner, tmp_path: Path) -> None:
    found = cli.invoke(app, ["query", "select 1", str(tmp_path / "none")])
    assert found.exit_code == 2
    assert "no results folder" in found.stderr


def test_show_by_folder_and_by_the_first_digits(cli: CliRunner, results: Path) -> None:
    run = next(p for p in sorted((results / "runs").iterdir()))
    by_folder = cli.invoke(app, ["show", str(run)])
    assert by_folder.exit_code == 0, by_folder.output
    for text in (run.name, "done", "accuracy", "training loss from 0.02 to 1", "│"):
        assert text in by_folder.output
    by_digits = cli.invoke(app, ["show", run.name[:12], "--results", str(results.parent)])
    assert by_digits.output == by_folder.output


def test_show_an_unfinished_run(cli: CliRunner, results: Path) -> None:
    run = next(p for p in sorted((results / "runs").iterdir()))
    (run / "status.json").unlink()
    (run / "steps.jsonl").write_text('{"forwards": 2, "loss": 3.0}\n{"forwards": 4, "loss": 2.0}\n{"forw')
    found = cli.invoke(app, ["show", str(run)])
    assert found.exit_code == 0, found.output
    assert "unfinished" in found.output
    assert "training loss from 2 to 3, against forward passes up to 4" in found.output


def test_show_an_unknown_or_ambiguous_run(cli: CliRunner, results: Path) -> None:
    unknown = cli.invoke(app, ["show", "zzzz", "--results", str(results)])
    assert unknown.exit_code == 2
    assert "no run 'zzzz'" in unknown.stderr
    everything = cli.invoke(app, ["show", "", "--results", str(results)])
    assert everything.exit_code == 2
    no_run = cli.invoke(app, ["show", str(results)])
    assert "is not a run folder" in no_run.stderr


def test_diff_has_the_exit_code_of_the_comparison(cli: CliRunner, results: Path, tmp_path: Path) -> None:
    same = cli.invoke(app, ["diff", str(results), str(results)])
    assert same.exit_code == 0, same.output
    assert "identical" in same.output
    (tmp_path / "part").mkdir()
    run = expand(load(tmp_path / "small.yaml")).runs[0]
    write_run(tmp_path / "part", run, 0.8)
    missing = cli.invoke(app, ["diff", str(results), str(tmp_path / "part")])
    assert missing.exit_code == 1
    assert "only in A: zero-shot" in missing.output
    nothing = cli.invoke(app, ["diff", str(results), str(tmp_path / "none")])
    assert nothing.exit_code == 2
    assert "no results folder" in nothing.stderr


def test_compact_moves_runs_that_are_read_as_before(cli: CliRunner, results: Path) -> None:
    run = next(p.name for p in sorted((results / "runs").iterdir()))
    before = cli.invoke(app, ["show", run, "--results", str(results)]).output
    found = cli.invoke(app, ["compact", str(results)])
    assert found.output == f"{results}: 4 runs compacted\n"
    assert not (results / "runs" / run).exists()
    assert cli.invoke(app, ["show", run, "--results", str(results)]).output == before
    assert "0 runs" in cli.invoke(app, ["compact", str(results)]).output


def test_selections_are_made_from_the_stored_scores(results: Path) -> None:
    plan = expand(load(results.parent / "small.yaml"))
    (study,) = plan.studies
    for candidate, scores in zip(study.candidates, [(0.5, 0.6), (0.9, 0.7), (0.95, None)], strict=True):
        for trial, score in zip(study.trials(candidate), scores, strict=True):
            if score is None:
                write_run(results, trial, 0.99, status="failed")
            else:
                write_run(results, trial, score)
    (found,) = selections(plan, results)
    assert found["winner"] == {"lr": 0.01}
    assert found["on_edge"] == []
    assert found["forwards"] == 600
    assert [t["scores"] for t in found["trials"]] == [[0.5, 0.6], [0.9, 0.7], [0.95, None]]
    assert json.loads(json.dumps(found)) == found


def test_report_names_its_page(cli: CliRunner, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    seen: dict[str, Any] = {}

    def build(folders: list[Path], output: Path, **options: Any) -> Path:
        seen.update(options, folders=folders, output=output)
        return output / "index.html"

    monkeypatch.setattr(importlib.import_module("zobench.report.build"), "build", build)
    found = cli.invoke(app, ["report", str(results), "--site"])
    assert found.exit_code == 0, found.output
    assert f"leaderboard: {results}/index.html" in found.output
    expected = {"folders": [results], "output": results, "leaderboard": None, "site": True}
    assert seen == {**expected, "every": False, "suite": None}


def test_an_interrupt_while_the_page_is_written_says_what_is_kept(
    results: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = results / "index.html"
    page.write_text("the page before")
    monkeypatch.setattr(
        "zobench.report.build.html", lambda found, site=False: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(interrupting.Answered):
        suite_commands._show_leaderboard(results)
    told = capfd.readouterr().err
    assert "writing the leaderboard page" in told
    assert f"every run is kept; 'zobench report {results}' writes the page." in told
    assert page.read_text() == "the page before"
    assert [p.name for p in results.iterdir() if p.name.startswith(".tmp")] == []
