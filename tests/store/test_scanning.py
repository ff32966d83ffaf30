"""Some columns of a table, a row group at a time, are the columns that the whole table has."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zobench.store import RunFolder, compact, read
from zobench.store.digests import DamagedFile
from zobench.store.reader import LocatedFiles, locate, results_paths
from zobench.store.scanning import records
from zobench.store.schema import TABLES
from zobench.store.writer import versioned

COLUMNS = ("metric", "value", "final", "n")


def write(folder: Path, run_id: str) -> None:
    path = folder / "runs" / run_id
    path.mkdir(parents=True)
    metrics = [{"run_id": run_id, "metric": f"m{i}", "value": i / 3, "final": i == 2} for i in range(3)]
    RunFolder(path).finish("done", {"runs": [{"run_id": run_id, "status": "done"}], "metrics": metrics})


@pytest.mark.parametrize("compacted", [(), ("a",), ("a", "b")])
def test_records_are_those_of_the_whole_table(tmp_path: Path, compacted: tuple[str, ...]) -> None:
    for folder, names in (("a", ("r1", "r2")), ("b", ("r2", "r3"))):
        for name in names:
            write(tmp_path / folder, name)
    for folder in compacted:
        compact(tmp_path / folder)
    folders = [tmp_path / "a", tmp_path / "b"]
    found = list(records(locate(results_paths(folders), ("metrics",)), "metrics", COLUMNS))
    whole = read(folders, ["metrics"]).tables["metrics"].select(["run_id", *COLUMNS]).to_pylist()
    assert sorted(found) == sorted(tuple(row.values()) for row in whole)
    assert len(found) == 9


def one_file(path: Path, table: pa.Table) -> LocatedFiles:
    pq.write_table(table.replace_schema_metadata(versioned(TABLES["metrics"]).metadata), path)
    return LocatedFiles({"metrics": [path]}, {})


def test_columns_that_an_earlier_file_lacks_are_none(tmp_path: Path) -> None:
    table = pa.table({"run_id": ["r"], "value": [0.5], "unknown": [1]})
    assert list(records(one_file(tmp_path / "x", table), "metrics", COLUMNS)) == [
        ("r", None, 0.5, None, None)
    ]


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"run_id": ["r"], "value": ["text"]}),
        pa.table([pa.array(["r"]), pa.array([1.0]), pa.array([2.0])], names=["run_id", "value", "value"]),
        pa.table({"run_id": pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())}),
    ],
)
def test_columns_of_another_kind_are_damage(tmp_path: Path, table: pa.Table) -> None:
    with pytest.raises(DamagedFile):
        list(records(one_file(tmp_path / "x", table), "metrics", COLUMNS))
