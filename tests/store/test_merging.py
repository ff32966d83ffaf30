"""Merging results folders: identical records once, different ones refused by name, nothing trusted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.store import compact, read
from zobench.store.damage import damage_in
from zobench.store.merging import Merged, merge
from zobench.store.paths import run_folder
from zobench.store.plan_file import Entry, PlanFile, read_plan, write_plan
from zobench.store.writer import RunFolder


def write(folder: Path, run_id: str, value: float = 0.5, status: str = "done") -> Path:
    path = folder / "runs" / run_id
    path.mkdir(parents=True)
    writer = RunFolder(path)
    writer.write_json("spec.json", {"row": "mezo"})
    writer.write_json("environment.json", {"threads": 1})
    metric = {"run_id": run_id, "metric": "accuracy", "value": value, "final": True}
    row = {"run_id": run_id, "row": "mezo", "suite": "s", "status": status}
    writer.finish(status, {"runs": [row], "metrics": [metric, {**metric, "value": float("nan")}]})
    return path


def ids(folder: Path) -> list[str]:
    return sorted(read(folder, ["runs"]).runs["run_id"])


@pytest.mark.parametrize("compacted", [(), ("a",), ("b",), ("a", "b")])
def test_runs_of_all_folders_are_written_once(tmp_path: Path, compacted: tuple[str, ...]) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for folder, names in ((a, ("r1", "r2")), (b, ("r2", "r3"))):
        for name in names:
            write(folder, name)
    for name in compacted:
        compact(tmp_path / name)
    assert merge([a, b], tmp_path / "c") == Merged(3, 1, 0)
    assert ids(tmp_path / "c") == ["r1", "r2", "r3"]
    assert len(read(tmp_path / "c", ["metrics"]).metrics) == 6
    assert damage_in(tmp_path / "c" / "runs") == []


def test_different_records_of_one_run_are_refused_by_name(tmp_path: Path) -> None:
    for name, value in (("a", 0.5), ("b", 0.6)):
        write(tmp_path / name, "r1", value)
    found = CliRunner().invoke(
        app, ["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "c")]
    )
    assert found.exit_code == 2
    assert "run r1 of" in found.output
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_result_replaces_a_failed_run(tmp_path: Path, order: tuple[str, str]) -> None:
    write(tmp_path / "a", "r1", status="failed")
    write(tmp_path / "b", "r1")
    assert merge([tmp_path / name for name in order], tmp_path / "c") == Merged(1, 0, 1)
    assert list(read(tmp_path / "c", ["runs"]).runs["status"]) == ["done"]


def test_plans_of_one_suite_are_joined(tmp_path: Path) -> None:
    for name, run_id in (("a", "r1"), ("b", "r2")):
        write(tmp_path / name, run_id)
        entry = Entry(row="mezo", kind="run", model="m", task="t", seeds=(0,), key="k", run_ids=(run_id,))
        write_plan(tmp_path / name / "runs", PlanFile(suite="s", entries=(entry,)))
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    plan = read_plan(tmp_path / "c" / "runs")
    assert plan is not None
    assert [e.run_ids for e in plan.entries] == [("r1", "r2")]


def test_an_existing_folder_is_not_written(tmp_path: Path) -> None:
    write(tmp_path / "a", "r1")
    with pytest.raises(ValueError, match="exists already"):
        merge([tmp_path / "a"], tmp_path / "a")


@pytest.mark.parametrize("file", ["metrics.parquet", "spec.json", "status.json"])
def test_a_changed_file_is_refused(tmp_path: Path, file: str) -> None:
    path = write(tmp_path / "a", "r1") / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="is damaged"):
        merge([tmp_path / "a"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "a", "r1")
    shutil.move(run / "spec.json", tmp_path / "secret.json")
    (run / "spec.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ValueError, match="is a link"):
        merge([tmp_path / "a"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_records_of_another_run_are_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "a", "r1")
    run.rename(tmp_path / "a" / "runs" / "r2")
    with pytest.raises(ValueError, match="records of run 'r1'"):
        merge([tmp_path / "a"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", "r1")
    compact(tmp_path / "a")
    manifest = tmp_path / "a" / "runs" / "compact" / "manifest.json"
    body = json.loads(manifest.read_text())
    body = {k: v for k, v in body.items() if k not in ("sha256", "sealed", "digests")}
    body["files"]["metrics"] = "../../metrics-000001.parquet"
    manifest.write_text(json.dumps(body))
    with pytest.raises(ValueError, match="not a table's file"):
        merge([tmp_path / "a"], tmp_path / "c")
    with pytest.raises(ValueError, match="not a valid run id"):
        run_folder(tmp_path, "../x")
    assert not (tmp_path / "c").exists()
