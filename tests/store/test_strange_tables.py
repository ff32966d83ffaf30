"""Tables that zobench did not write: what cannot be read is named, whoever reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store.forging import forge_table

from zobench.report.analysis import analyse
from zobench.report.source import loss_curves, open_results
from zobench.store import query, read
from zobench.store.damage import damage_in
from zobench.store.writer import RunFolder

NOT_UTF8 = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))


def _set(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


STRANGE: dict[str, Callable[[pa.Table], pa.Table]] = {
    "text that is not UTF-8": _set("row", NOT_UTF8),
    "a column of another type": _set("seed", pa.array(["one"])),
    "a column twice": lambda table: table.append_column("row", table.column("row")),
    "a version that is not text": lambda table: table.replace_schema_metadata(
        {b"zobench_schema_version": b"\xff"}
    ),
    "a version of many digits": lambda table: table.replace_schema_metadata(
        {b"zobench_schema_version": b"9" * 5000}
    ),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = RunFolder(tmp_path / "results" / "runs" / "a")
    folder.path.mkdir(parents=True)
    row = {"run_id": "a", "row": "r", "group": "method", "purpose": "result", "status": "done"}
    row |= {"task": "t", "model": "m", "method": "mezo", "seed": 1, "primary_metric": "accuracy"}
    folder.finish("done", {"runs": [row], "steps": [{"run_id": "a", "step": 0, "loss": 0.5}]})
    return folder.path


def change(run: Path, name: str, how: Callable[[pa.Table], pa.Table]) -> Path:
    """Replace a table by a changed one for which the run's status vouches; the results folder."""
    path = run / f"{name}.parquet"
    pq.write_table(how(pq.read_table(path)), path)
    forge_table(run, name)
    return run.parents[1]


@pytest.mark.parametrize("kind", STRANGE)
def test_every_reader_names_the_file(run: Path, kind: str) -> None:
    results = change(run, "runs", STRANGE[kind])
    readers = (
        lambda: read(results),
        lambda: query("select * from runs", results),
        lambda: analyse([results]),
    )
    for reader in readers:
        # DuckDB's own errors pass through ``query``; the command prints them as messages.
        with pytest.raises((ValueError, duckdb.Error), match=r"runs\.parquet") as found:
            reader()
        assert len(str(found.value)) < 500


def test_a_column_of_another_type_is_not_scanned_in_place(run: Path) -> None:
    """The view of a table has the schema's columns, whatever the file has."""
    results = change(run, "steps", lambda t: t.append_column("extra", pa.nulls(1)))
    assert "extra" not in query("select * from steps", results).columns
    results = change(run, "steps", _set("step", pa.array([3], pa.int8())))
    assert query("select typeof(step) as t from steps", results)["t"].item() == "BIGINT"


@pytest.mark.parametrize("column", ["row", "task", "method", "seed", "group"])
def test_a_run_without_a_needed_cell_is_named_by_the_report(run: Path, column: str) -> None:
    kind = pq.read_table(run / "runs.parquet").schema.field(column).type
    results = change(run, "runs", _set(column, pa.nulls(1, kind)))
    with pytest.raises(ValueError, match=rf"run 'a' has no '{column}'"):
        analyse([results])


def test_a_table_that_only_duckdb_refuses_is_named(run: Path) -> None:
    """Values that no query can compute with are a fault of the files, not a traceback."""
    results = change(run, "steps", _set("forwards", pa.array([2**63 - 1], pa.int64())))
    source = open_results([results])
    with pytest.raises(ValueError, match="a table cannot be read"):
        loss_curves(source)


def test_half_of_a_surrogate_pair_in_a_query_is_refused(run: Path) -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        query("select '\ud800'", run.parents[1])
    assert damage_in(run.parent) == []
