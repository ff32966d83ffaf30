"""Names from data never cause reading, writing or removing outside their folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store.forging import forge
from typer.testing import CliRunner

from zobench.cli import app
from zobench.cli.finding import FoundRun
from zobench.report.site import write_run_pages
from zobench.store import compact, files, read
from zobench.store.artifacts import read_artifacts
from zobench.store.digests import file_digest
from zobench.store.paths import (
    artifact_file,
    compacted_file,
    is_plain,
    local_folder,
    results_folder,
    run_file,
    run_folder,
    run_page_file,
)
from zobench.store.reader import finished, manifest, read_run
from zobench.store.schema import TABLES
from zobench.store.writer import RunFolder

PACKAGE = Path(files.__file__).parents[1]
OUTSIDE = [
    "../victim",
    "..",
    ".",
    "",
    "a/b",
    "/victim",
    "a\\b",
    "a\0b",
    "../../victim",
    "a" * 65,
    " a",
    None,
    3,
]


def write(results: Path, name: str, run_id: str | None = None) -> Path:
    """One finished run in the folder ``name`` whose rows say ``run_id``."""
    folder = RunFolder(results / "runs" / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    rows = [{"run_id": run_id or name, "row": "r", "status": "done", "seed": 1}]
    folder.finish("done", {"runs": rows})
    return folder.path


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the results that nobody may touch."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "keep.txt").write_text("kept")
    return folder


def stranger(tmp_path: Path, run_id: str) -> Path:
    """Compacted results made elsewhere, whose parquet file names ``run_id``."""
    results = tmp_path / "results"
    write(results, "a")
    assert compact(results) == 1
    path = next((results / "runs" / "compact").glob("runs-*.parquet"))
    table = pq.read_table(path)
    place = table.schema.get_field_index("run_id")
    column = pa.array([run_id], table.schema.field("run_id").type)
    pq.write_table(table.set_column(place, table.schema.field("run_id"), column), path)
    forge(path.parent / "manifest.json", digests={"runs": file_digest(path)})
    return results


@pytest.mark.parametrize("absolute", [True, False])
def test_compaction_removes_no_folder_that_a_parquet_file_names(
    tmp_path: Path, victim: Path, absolute: bool
) -> None:
    results = stranger(tmp_path, str(victim) if absolute else "../../victim")
    write(results, "b")
    with pytest.raises(ValueError, match="not a valid run id"):
        compact(results)
    assert (victim / "keep.txt").read_text() == "kept"
    assert (results / "runs" / "b").is_dir()


def test_a_run_folder_holds_its_own_rows_only(tmp_path: Path, victim: Path) -> None:
    write(tmp_path, "a", "../victim")
    with pytest.raises(ValueError, match="contains records of run"):
        compact(tmp_path)
    assert (victim / "keep.txt").exists()


def test_a_link_is_no_run_folder_and_its_target_stays(tmp_path: Path, victim: Path) -> None:
    results = tmp_path / "results"
    write(results, "a")
    target = write(tmp_path / "elsewhere", "b")
    (results / "runs" / "b").symlink_to(target, target_is_directory=True)
    with pytest.raises(ValueError, match="is a link"):
        compact(results)
    files.remove_tree(results / "runs" / "b")
    assert target.is_dir()
    assert not (results / "runs" / "b").exists()


PLACES: dict[str, Callable[[Path, object], object]] = {
    "run folder": lambda folder, name: run_folder(folder, name),  # type: ignore[arg-type]
    "table": lambda folder, name: run_file(folder, name),  # type: ignore[arg-type]
    "artifact": lambda folder, name: artifact_file(folder, name),  # type: ignore[arg-type]
    "compacted": lambda folder, name: compacted_file(folder, name),  # type: ignore[arg-type]
    "page": lambda folder, name: run_page_file(folder, name),  # type: ignore[arg-type]
    "results": lambda folder, name: results_folder(folder, name),  # type: ignore[arg-type]
    "read_run": lambda folder, name: read_run(folder, name),  # type: ignore[arg-type]
    "finished": lambda folder, name: finished(folder, name),  # type: ignore[arg-type]
    "artifacts": lambda folder, name: read_artifacts(folder, name),  # type: ignore[arg-type]
    "found": lambda folder, name: FoundRun(folder, name, None).path,  # type: ignore[arg-type]
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", [n for n in OUTSIDE if n != "a" * 65], ids=repr)
def test_every_door_refuses_what_is_not_its_kind(tmp_path: Path, place: str, name: object) -> None:
    with pytest.raises(ValueError, match=r"not a valid|no table|is not a table's file"):
        PLACES[place](tmp_path, name)


@pytest.mark.parametrize("name", ["../x.parquet", "/x", "runs-000001.parquet/x", "spec-000001.parquet", 7])
def test_a_manifest_names_tables_only(tmp_path: Path, name: object) -> None:
    write(tmp_path, "a")
    compact(tmp_path)
    path = tmp_path / "runs" / "compact" / "manifest.json"
    body = manifest(tmp_path / "runs")
    forge(path, **{**body, "files": {"runs": name}})
    with pytest.raises(ValueError, match=r"not a table's file|there is no table"):
        read(tmp_path)


def test_a_status_names_tables_only(tmp_path: Path) -> None:
    path = write(tmp_path, "a") / "status.json"
    forge(path, tables={"../../secret": 10})
    with pytest.raises(ValueError, match=r"no table '\.\./\.\./secret'"):
        read(tmp_path)


def test_what_is_valid_stays_where_it_belongs(tmp_path: Path) -> None:
    assert run_folder(tmp_path, "0a" * 10).parent == tmp_path
    assert {run_file(tmp_path, t).stem for t in TABLES} == set(TABLES)
    for name in ("compact", "artifacts", "damaged"):
        with pytest.raises(ValueError, match="folder of the store itself"):
            run_folder(tmp_path, name)
    assert is_plain("fewshot (v2), 3 seeds")
    assert not any(is_plain(n) for n in ("../x", "a/b", "", ".x", "a\nb", "a.", "x" * 121))


def test_a_suite_name_that_is_a_path_is_refused_at_plan(tmp_path: Path) -> None:
    from zobench.suite import load

    path = tmp_path / "suite.yaml"
    text = (PACKAGE.parent / "suites" / "fewshot.yaml").read_text()
    path.write_text(re.sub(r"(?m)^suite: .*", "suite: ../../x", text))
    with pytest.raises(ValueError, match=r"suite: must be a plain name"):
        load(path)


def test_run_pages_are_written_inside_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    from zobench.report import runpages

    class Found:
        runs = pd.DataFrame({"run_id": ["x"]})
        source = None

        class ranking:
            standings = ()

    monkeypatch.setattr(runpages, "describe", lambda *_: [{"id": "../../escaped", "r": 0}])
    with pytest.raises(ValueError, match="not a valid run id"):
        write_run_pages(Found, tmp_path / "site" / "deep")  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("escaped*"))


def test_no_other_file_joins_a_name_from_data_to_a_runs_folder() -> None:
    """``runs / name`` stands in store/paths.py alone; elsewhere only the store's own constants follow."""
    joined = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "paths.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if isinstance(node.left, ast.Name) and node.left.id == "runs"
        if not isinstance(node.right, ast.Constant)
        if not (isinstance(node.right, ast.Name) and node.right.id.isupper())
    ]
    assert joined == []


@pytest.mark.parametrize("name", ["s3://bucket/x", Path("s3://bucket/x"), "gs://b", "abfs+x://c/d"])
def test_the_address_of_a_storage_service_is_no_folder(name: str | Path) -> None:
    with pytest.raises(ValueError, match=r"^'[a-z0-9+]+://\w\S*': .* not in \S+:// storage"):
        local_folder(name)


@pytest.mark.parametrize("name", ["reports/a", "/abs/x", "C:/results", "s3", "a b/c"])
def test_other_names_are_folders(name: str) -> None:
    assert local_folder(name) == Path(name)


@pytest.mark.parametrize("command", ["plan", "run", "slurm"])
def test_runs_are_not_executed_in_a_storage_service(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(
        "suite: own\nmodels: {nano: {name: 'builtin:nano'}}\ntasks: {nano-sentiment: {}}\n"
        "methods: {zero-shot: {method: none}}\nseeds: [0]\nbudget: {forwards: 0}\noutput: 's3://bucket/x'\n"
    )
    found = CliRunner().invoke(app, [command, "own.yaml"])
    assert found.exit_code == 2
    assert "s3:// storage" in found.output
    assert [p.name for p in tmp_path.iterdir()] == ["own.yaml"]
