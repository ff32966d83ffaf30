"""``replay``, ``export`` and ``verify`` as commands, on a real run of the built-in model's smallest task."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec

SPEC = RunSpec(
    model=ModelRef(name="builtin:nano"),
    task=Component(name="nano-sentiment"),
    method=Component(name="mezo", params={"lr": 2e-4, "epsilon": 1e-3}),
    seed=1,
    budget=Budget(forwards=6, batch_size=2),
    evaluation=Evaluation(test_items=4),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one run of three steps."""
    from zobench.models.nano import path
    from zobench.runner.execute import run_one
    from zobench.runner.factory import CATALOGUE
    from zobench.runner.jobs import Job
    from zobench.runner.process_cache import ProcessCache

    if not (path("nano") / "config.json").is_file():
        pytest.skip("the built-in model is not built")
    folder = tmp_path_factory.mktemp("results") / "out"
    outcome = run_one(
        Job(PlannedRun(row="mezo", spec=SPEC), "small"), folder / "runs", ProcessCache(CATALOGUE)
    )
    assert outcome.status == "done", outcome.error
    return folder


def run_of(results: Path) -> str:
    return next(p.name for p in (results / "runs").iterdir())


def test_replay_to_a_step_and_export_a_model_that_loads(
    cli: CliRunner, results: Path, tmp_path: Path
) -> None:
    run = str(results / "runs" / run_of(results))
    found = cli.invoke(app, ["replay", run, "--to", "2", "--export", str(tmp_path / "model")])
    assert found.exit_code == 0, found.output
    assert "3 steps of mezo replayed from scalars" in found.output
    assert "\nequal\nstep 2: " in found.output
    from zobench.models.loading import load

    assert load(ModelRef(name=str(tmp_path / "model"))).tokenizer is not None
    again = cli.invoke(app, ["replay", run, "--export", str(tmp_path / "model")])
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert "cannot be replayed to step 9" in cli.invoke(app, ["replay", run, "--to", "9"]).stderr


def test_the_command_on_the_run_page_is_one_that_works(cli: CliRunner, results: Path) -> None:
    from zobench.report.analysis import analyse
    from zobench.report.runpages import collect

    found = analyse(results)
    (page,) = collect(found.source, found.runs, ["mezo"], 1)
    command = shlex.split(page["command"].splitlines()[-1])
    assert command[:2] == ["zobench", "replay"]
    assert cli.invoke(app, command[1:]).exit_code == 0


def test_export_and_verify_and_add(cli: CliRunner, results: Path, tmp_path: Path) -> None:
    file, board = tmp_path / "mezo.zip", tmp_path / "board"
    run = run_of(results)
    sent = cli.invoke(app, ["export", run[:10], "--results", str(results), "--submission", str(file)])
    assert sent.exit_code == 0, sent.output
    args: list[Any] = ["verify", file, "--steps", "all", "--output", tmp_path / "found.json", "--add", board]
    found = cli.invoke(app, list(map(str, args)))
    assert found.exit_code == 0, found.output
    assert "VERIFIED\n" in found.output
    assert json.loads((tmp_path / "found.json").read_text())["exact"] == 3
    assert "verified: 3 steps replayed" in cli.invoke(app, ["show", str(board / "runs" / run)]).output


def test_verify_says_what_is_wrong_with_its_arguments(cli: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"")
    for args, message in [
        (["x.zip", "--steps", "some"], "--steps must be"),
        (["x.zip"], "not a submission"),
        (["none.zip"], "No such file"),
    ]:
        found = cli.invoke(app, ["verify", str(tmp_path / args[0]), *args[1:]])
        assert found.exit_code == 2
        assert message in found.stderr
