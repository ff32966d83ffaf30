"""A suite exported from results plans the same runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.spec import PlannedRun
from zobench.store.writer import RunFolder
from zobench.suite import expand, load

SUITES = ("fewshot", "queries-to-target", "robustness")


def record(folder: Path, planned: PlannedRun, number: int, **changed: Any) -> None:
    """A finished run without scores."""
    path = folder / "runs" / f"r{number:05d}"
    path.mkdir(parents=True)
    row = {
        "run_id": path.name,
        "suite": "mine",
        "row": planned.row,
        "group": planned.group,
        "note": planned.note,
        "purpose": planned.spec.purpose,
        "status": "done",
        "model": planned.shown_model,
        "task": planned.shown_task,
        "method": planned.spec.method.name,
        "seed": planned.spec.seed,
        "spec": planned.spec.model_dump_json(),
        **changed,
    }
    RunFolder(path).finish("done", {"runs": [row]})


def canonical(runs: tuple[PlannedRun, ...]) -> list[tuple[str, str]]:
    return sorted((run.row, run.spec.canonical()) for run in runs)


@pytest.mark.parametrize("name", SUITES)
def test_the_plan_of_an_exported_suite_is_that_of_the_suite(name: str, tmp_path: Path) -> None:
    runs = expand(load(name)).runs
    for number, planned in enumerate(runs):
        record(tmp_path / "results", planned, number)
    found = CliRunner().invoke(
        app, ["export-suite", str(tmp_path / "results"), "--output", str(tmp_path / "again.yaml")]
    )
    assert found.exit_code == 0, found.output
    assert canonical(expand(load(tmp_path / "again.yaml")).runs) == canonical(runs)


def one(tmp_path: Path) -> PlannedRun:
    suite = tmp_path / "one.yaml"
    suite.write_text(
        "suite: one\nmodels: {nano: {name: 'builtin:nano'}}\ntasks: {nano-sentiment: {}}\n"
        "methods: {mezo: {}}\nseeds: [0, 1]\nbudget: {forwards: 20}\n"
    )
    return expand(load(suite)).runs[0]


def test_names_from_results_stay_names(tmp_path: Path) -> None:
    hostile = 'a": {}\nexecutor: {kind: ray}\n\x1b[2J#'
    record(tmp_path / "results", one(tmp_path), 0, row=hostile, suite="mine")
    target = tmp_path / "again.yaml"
    CliRunner().invoke(app, ["export-suite", str(tmp_path / "results"), "--output", str(target)])
    assert "\x1b" not in target.read_text()
    assert json.dumps(hostile) in target.read_text()
    assert "\nexecutor" not in target.read_text()


def test_what_a_suite_cannot_express_is_named(tmp_path: Path) -> None:
    planned = one(tmp_path)
    record(tmp_path / "results", planned, 0)
    budget = planned.spec.budget.model_copy(update={"forwards": 40})
    other = planned.spec.model_copy(update={"budget": budget, "seed": 1})
    record(tmp_path / "results", planned.model_copy(update={"spec": other}), 1)
    found = CliRunner().invoke(
        app, ["export-suite", str(tmp_path / "results"), "--output", str(tmp_path / "x.yaml")]
    )
    assert found.exit_code == 1
    assert "mezo on nano-sentiment" in found.output


@pytest.mark.parametrize(
    ("changed", "told"), [({"spec": "{}"}, "cannot be read"), ({"purpose": "tuning"}, "no finished run")]
)
def test_what_cannot_be_exported_is_refused(tmp_path: Path, changed: dict[str, str], told: str) -> None:
    record(tmp_path / "results", one(tmp_path), 0, **changed)
    found = CliRunner().invoke(app, ["export-suite", str(tmp_path / "results")])
    assert found.exit_code == 2
    assert told in found.output


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    record(tmp_path / "results", one(tmp_path), 0)
    found = CliRunner().invoke(
        app, ["export-suite", str(tmp_path / "results"), "--output", str(tmp_path / "one.yaml")]
    )
    assert found.exit_code == 2
    assert "exists already" in found.output


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": {"trust_remote_code": True}}, "code of the repository of model 'builtin:nano'"),
        ({"train_on": {"reward": "own.py:score", "file": "own.py"}}, "the reward file 'own.py'"),
    ],
)
def test_code_that_results_name_is_exported_only_if_trusted(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    """A suite executes it without asking, so the file must not have it from somebody's data."""
    planned = one(tmp_path)
    spec = planned.spec.model_dump(mode="json")
    for key, value in changed.items():
        spec[key] = {**spec[key], **value} if isinstance(spec[key], dict) else value
    record(tmp_path / "results", planned, 0, spec=json.dumps(spec))
    command = ["export-suite", str(tmp_path / "results"), "--output", str(tmp_path / "again.yaml")]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 2
    assert told in " ".join(found.output.split())
    assert not (tmp_path / "again.yaml").exists()
    CliRunner().invoke(app, [*command, "--trust-code"])
    text = (tmp_path / "again.yaml").read_text("utf-8")
    assert "trust_remote_code" in text or "own.py:score" in text
