"""``zobench merge`` recomputes the id of every run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.spec import RunSpec, placeholder
from zobench.store import RunFolder, compact, read
from zobench.verification.identity import problem_of

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "smollm2-fewshot"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return read(RESULTS, ["runs"]).tables["runs"].to_pylist()


def merged(folder: Path, target: Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["merge", str(folder), "--output", str(target)], env={"COLUMNS": "300"})
    assert target.exists() == (found.exit_code == 0)
    return found.exit_code, found.output


def write(folder: Path, row: dict[str, Any]) -> Path:
    path = folder / "runs" / row["run_id"]
    path.mkdir(parents=True)
    writer = RunFolder(path)
    writer.write_json("spec.json", json.loads(row["spec"]))
    writer.write_json("environment.json", json.loads(row["environment"]))
    writer.finish(row["status"], {"runs": [row]})
    return folder


def test_the_ids_of_committed_results_follow_from_their_specifications(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert len(rows) > 5
    assert [problem_of(row) for row in rows] == [None] * len(rows)
    shutil.copytree(RESULTS, tmp_path / "a")
    told = f"{len(rows)} runs; 0 were in several folders with identical records"
    assert merged(tmp_path / "a", tmp_path / "c") == (0, f"{tmp_path / 'c'}: {told}\n")


@pytest.mark.parametrize("compacted", [False, True])
def test_a_run_under_the_id_of_another_specification_is_refused(
    compacted: bool, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    spec = json.loads(rows[0]["spec"])
    spec["budget"]["forwards"] += 2
    write(tmp_path / "a", {**rows[0], "spec": json.dumps(spec)})
    write(tmp_path / "a", rows[1])
    if compacted:
        compact(tmp_path / "a")
    code, told = merged(tmp_path / "a", tmp_path / "c")
    assert code == 2
    assert f"run {rows[0]['run_id']}: the id is not that of its specification" in told
    assert rows[1]["run_id"] not in told


def changed_environment(row: dict[str, Any], **digests: Any) -> str:
    environment = json.loads(row["environment"])
    return json.dumps({**environment, "digests": {**environment["digests"], **digests}})


@pytest.mark.parametrize("part", ["model", "data", "way", "plugins"])
def test_other_digests_are_another_run(part: str, rows: list[dict[str, Any]]) -> None:
    environment = changed_environment(rows[0], **{part: "0" * 64})
    assert problem_of({**rows[0], "environment": environment}) is not None


def test_digests_of_the_row_and_of_the_environment_agree(rows: list[dict[str, Any]]) -> None:
    assert "contradict" in str(problem_of({**rows[0], "model_digest": "0" * 64}))


@pytest.mark.parametrize("environment", ["", "[]", "{", '{"digests": 3}', '{"digests": {"model": 3}}'])
def test_an_environment_without_digests_gives_no_id(environment: str, rows: list[dict[str, Any]]) -> None:
    assert problem_of({**rows[0], "environment": environment, "model_digest": None}) is not None


@pytest.mark.parametrize("spec", [None, "", "{}", "[", '{"seed": 1}'])
def test_a_specification_that_is_none_is_refused(spec: str | None, rows: list[dict[str, Any]]) -> None:
    assert "cannot be read" in str(problem_of({**rows[0], "spec": spec}))


def test_a_run_that_failed_before_it_had_an_id_keeps_its_placeholder(rows: list[dict[str, Any]]) -> None:
    own = placeholder(RunSpec.model_validate_json(rows[0]["spec"]))
    lost = {**rows[0], "run_id": own, "environment": "{}", "model_digest": None, "data_digest": None}
    assert problem_of({**lost, "status": "failed"}) is None
    assert problem_of({**lost, "status": "done"}) is not None
