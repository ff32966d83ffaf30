"""Reads the run folders and compacted files of one or more results folders as tables (:mod:`.sql` reads the
same files with DuckDB).

A run that appears twice (in a folder and in a compacted file, or in two results folders) is read once.
Reading is safe while runs are written and while a compaction is in progress: folders are listed before the
manifest is read, which is read once, so a run that is moved in between is found in one of the two places. If
a listed file no longer exists, the folders are listed again. A file whose digest differs from the recorded
one raises :class:`~zobench.store.digests.DamagedFile`, and nothing is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zobench.store.digests import DamagedFile, check_file, read_sealed
from zobench.store.paths import COMPACT, STORE_FOLDERS, compacted_file, refuse_storage, run_file, run_folder
from zobench.store.schema import FINALS, SCHEMA_VERSION, STATUSES, TABLES, readable
from zobench.store.writer import FINAL_STATUSES, STATUS, VERSION_KEY, versioned

if TYPE_CHECKING:
    import pandas as pd

MANIFEST, MANIFEST_COPY = "manifest.json", "manifest-copy.json"
_ATTEMPTS = 20
_DAMAGED_ATTEMPTS = 3
_FILES_AT_A_TIME = 256
_SMALL_TABLE = 10_000
"""Records of a table that is joined with others."""
_T = TypeVar("_T")
Folders = str | Path | Iterable[str | Path]


class SchemaVersionError(ValueError):
    """A file has no schema version, or a later one than this version of zobench can read."""

    def __init__(self, path: Path, found: object) -> None:
        super().__init__(
            f"{path}: schema version {found}; this version of zobench reads up to {SCHEMA_VERSION}; "
            "read it with the zobench version that wrote it, or run the suite again"
        )


@dataclass(frozen=True, slots=True)
class Results:
    """All records of all tables. ``tables`` are Arrow tables; the properties are pandas data frames."""

    tables: dict[str, pa.Table]

    def frame(self, name: str) -> pd.DataFrame:
        """One table as a pandas data frame."""
        if name not in self.tables:
            raise ValueError(f"no table {name!r}; there are {', '.join(self.tables)}")
        return self.tables[name].to_pandas()

    @property
    def runs(self) -> pd.DataFrame:
        return self.frame("runs")

    @property
    def steps(self) -> pd.DataFrame:
        return self.frame("steps")

    @property
    def metrics(self) -> pd.DataFrame:
        return self.frame("metrics")

    @property
    def predictions(self) -> pd.DataFrame:
        return self.frame("predictions")

    @property
    def attacks(self) -> pd.DataFrame:
        return self.frame("attacks")

    @property
    def failures(self) -> pd.DataFrame:
        return self.frame("failures")

    @property
    def finals(self) -> pd.DataFrame:
        """Scores of result runs (not tuning trials) at the end of training on clean test examples
        (:data:`.schema.FINALS`): one record per run and metric, with row, group, task, model, method, seed
        and status.

        The score of a leaderboard entry is the mean over tasks of the mean over seeds.
        """
        import duckdb

        with duckdb.connect() as connection:
            for name in ("runs", "metrics"):
                connection.register(name, self.tables[name])
            return connection.sql(f"{FINALS} order by all").to_arrow_table().to_pandas()


@dataclass(frozen=True, slots=True)
class LocatedFiles:
    """Parquet files to read, by table, with each run assigned to exactly one file per table."""

    files: dict[str, list[Path]]
    skip: dict[Path, frozenset[str]]
    """For a compacted file: ids of runs that are read from another file."""


def runs_folder(folder: str | Path) -> Path:
    """The ``runs`` folder of a results folder; the folder itself if it has no ``runs`` folder."""
    path = refuse_storage(folder)
    return path / "runs" if (path / "runs").is_dir() else path


def read(folders: Folders, tables: Sequence[str] = tuple(TABLES)) -> Results:
    """Every finished run under ``folders`` (failed and interrupted ones included, with their status).

    Raises:
        ValueError: a folder does not exist, or a table name is unknown.
        DamagedFile: the content of a file of a finished run differs from what was written.
        SchemaVersionError: a file has another schema version.
    """
    paths = results_paths(folders)
    for name in tables:
        if name not in TABLES:
            raise ValueError(f"no table {name!r}; there are {', '.join(TABLES)}")

    def all_tables() -> Results:
        source = locate(paths, tables)
        return Results({name: load(source, name) for name in tables})

    return steadily(all_tables)


def finished(folder: str | Path, run_id: str) -> str | None:
    """The status of a run if it is a result (done, diverged, budget), in its folder or compacted; else
    ``None``."""
    # The folder first, as a compaction deletes it only after the manifest lists the run.
    runs = runs_folder(folder)
    status = read_status(run_folder(runs, run_id))
    if status is not None and status["status"] in FINAL_STATUSES:
        return str(status["status"])
    return compacted_statuses(runs).get(run_id)


def read_status(folder: Path) -> dict[str, Any] | None:
    """Contents of ``status.json``; ``None`` if the run is unfinished.

    Files are not flushed to disk when a run ends. A file that a power cut left incomplete counts as damaged.

    Raises:
        DamagedFile: the status differs from what was written, or a table is missing or has another size.
    """
    before = None
    while True:
        try:
            status = _checked_status(folder / STATUS, read_sealed(folder / STATUS))
        except FileNotFoundError:
            return None
        problem = _table_problem(folder, status["tables"])
        if problem is None:
            return status
        if status == before:
            raise problem
        before = status  # the run may have been marked unfinished after its status was read


def _checked_status(path: Path, body: dict[str, Any]) -> dict[str, Any]:
    """``body``, after a check that it is a status that this version of zobench can read."""
    if not readable(body.get("schema_version")):
        raise SchemaVersionError(path, body.get("schema_version"))
    if body.get("status") not in STATUSES or not isinstance(body.get("tables"), dict):
        raise DamagedFile(path, "it is not a status")
    return body


def _table_problem(folder: Path, sizes: dict[str, Any]) -> DamagedFile | None:
    for name, size in sizes.items():
        path = run_file(folder, name)
        try:
            found = path.stat().st_size
        except FileNotFoundError:
            return DamagedFile(path, "it is gone")
        if found != size:
            return DamagedFile(path, f"it has {found} bytes instead of {size}")
    return None


def checked_table(folder: Path, status: dict[str, Any], name: str) -> Path:
    """Path of a run's table, after its digest was compared with the one in the run's status."""
    path = run_file(folder, name)
    check_file(path, status.get("digests", {}).get(path.name))
    return path


def manifest(runs: Path) -> dict[str, Any]:
    """The compacted files of a runs folder: the generation, and file name and digest by table. The generation
    is 0 if there are none. If the manifest is damaged, its copy is read, provided that it belongs to the same
    generation."""
    path = runs / COMPACT / MANIFEST
    try:
        body = read_sealed(path)
    except FileNotFoundError:
        return {"schema_version": SCHEMA_VERSION, "generation": 0, "files": {}}
    except DamagedFile as error:
        body = _manifest_copy(runs, error)
    if not readable(body.get("schema_version")):
        raise SchemaVersionError(path, body.get("schema_version"))
    if not isinstance(body.get("generation"), int) or not isinstance(body.get("files"), dict):
        raise DamagedFile(path, "it is not a manifest")
    return body


def _manifest_copy(runs: Path, damage: DamagedFile) -> dict[str, Any]:
    """The copy of the manifest, unless it is older: a kill may have prevented the writing of the newer
    copy."""
    try:
        body = read_sealed(runs / COMPACT / MANIFEST_COPY)
        whole = all(compacted_file(runs, name).is_file() for name in body["files"].values())
    except (FileNotFoundError, DamagedFile):
        raise damage from None
    newest = max((p.stem.rpartition("-")[2] for p in (runs / COMPACT).glob("*-*.parquet")), default="")
    if not whole or newest != f"{body['generation']:06d}":
        raise damage
    return body


def compacted_table(runs: Path, body: dict[str, Any], name: str) -> Path:
    """Path of a compacted table, after its digest was compared with the one in the manifest ``body``."""
    path = compacted_file(runs, body["files"][name])
    check_file(path, body.get("digests", {}).get(name))
    return path


def compacted_statuses(runs: Path, body: dict[str, Any] | None = None) -> dict[str, str]:
    """Run id -> status of the compacted runs of a folder, or of those of the manifest ``body``. Whoever reads
    tables as well gives the manifest of both: a compaction may put a run into a second reading only."""
    if body is None:
        return steadily(lambda: compacted_statuses(runs, manifest(runs)))
    if "runs" not in body["files"]:
        return {}
    table = _parquet(compacted_table(runs, body, "runs"), columns=["run_id", "status"])
    return dict(zip(table["run_id"].to_pylist(), table["status"].to_pylist(), strict=True))


def loose_runs(runs: Path) -> dict[str, dict[str, Any]]:
    """Statuses of the run folders that have one, by run id, sorted by name."""
    found = {}
    for path in sorted(p for p in runs.iterdir() if p.is_dir() and p.name not in STORE_FOLDERS):
        status = read_status(path)
        if status is not None:
            found[run_folder(runs, path.name).name] = status
    return found


def locate(folders: Sequence[Path], tables: Sequence[str]) -> LocatedFiles:
    """Decide from which file each run is read: compacted files take precedence over run folders, earlier
    results folders over later ones."""
    source = LocatedFiles({name: [] for name in tables}, {})
    seen: set[str] = set()
    for runs in folders:
        loose = loose_runs(runs)  # before the manifest: see the module's docstring
        body = manifest(runs)
        ids = frozenset(compacted_statuses(runs, body))
        for name in tables:
            if name in body["files"]:
                path = compacted_table(runs, body, name)
                source.files[name].append(path)
                source.skip[path] = ids & seen
        seen |= ids
        for run_id, status in loose.items():
            if run_id not in seen:
                seen.add(run_id)
                for name in set(tables) & set(status["tables"]):
                    source.files[name].append(checked_table(run_folder(runs, run_id), status, name))
    return source


def read_run(folder: str | Path, run_id: str) -> dict[str, pa.Table]:
    """All tables of one finished run, from its folder or from the compacted files; ``ValueError`` if there is
    no such run."""
    runs = runs_folder(folder)
    return steadily(lambda: _run_tables(runs, run_id))


def _run_tables(runs: Path, run_id: str) -> dict[str, pa.Table]:
    folder = run_folder(runs, run_id)
    status, body = read_status(folder), manifest(runs)
    if run_id in compacted_statuses(runs, body):
        wanted = pc.field("run_id") == run_id
        found = {name: _parquet(compacted_table(runs, body, name), filters=wanted) for name in body["files"]}
        return {name: to_schema(table, name) for name, table in found.items()}
    if status is None:
        raise ValueError(f"{runs}: no finished run {run_id!r}")
    return {name: read_parquet(checked_table(folder, status, name), name) for name in status["tables"]}


def read_parquet(path: Path, name: str) -> pa.Table:
    """The table in one file with its columns in the schema's order; its schema version is checked."""
    table = unless_broken(path, lambda: _whole_file(path))
    check_version(path, table.schema)
    try:
        found = to_schema(table, name)
        found.validate(full=True)  # text that is not UTF-8 would raise only when it is used
        return found
    # KeyError: a column that appears twice; UnicodeDecodeError: a name that is not UTF-8.
    except (pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        raise DamagedFile(path, f"its columns are not those of the table {name!r}") from error


def _whole_file(path: Path) -> pa.Table:
    # Neither a data set of one file (pq.read_table) nor a thread per column: most of the time of a small one.
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=file.metadata.num_rows > _SMALL_TABLE)


def _parquet(path: Path, **how: Any) -> pa.Table:
    return unless_broken(path, lambda: pq.read_table(path, **how))


def unless_broken(path: Path, action: Callable[[], _T]) -> _T:
    """The result of ``action``, which reads a parquet file; ``DamagedFile`` if that is not valid parquet."""
    try:
        return action()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DamagedFile(path, "it cannot be read as parquet") from error
    except OSError as error:
        if error.errno is not None:  # an error of the operating system, not of the file's content
            raise
        raise DamagedFile(path, "it cannot be read as parquet") from error


def check_version(path: Path, schema: pa.Schema) -> None:
    found = (schema.metadata or {}).get(VERSION_KEY, b"none").decode(errors="replace")[:40]
    if not readable(found):
        raise SchemaVersionError(path, found)


def to_schema(table: pa.Table, name: str) -> pa.Table:
    """The table with its columns in the schema's order; missing columns are null."""
    if table.schema.equals(TABLES[name]):
        return table.replace_schema_metadata(versioned(TABLES[name]).metadata)
    for column in sorted(set(TABLES[name].names) - set(table.column_names)):
        table = table.append_column(column, pa.nulls(table.num_rows, TABLES[name].field(column).type))
    return table.select(TABLES[name].names).cast(versioned(TABLES[name]))


def load(source: LocatedFiles, name: str) -> pa.Table:
    """One table, read from the files that :func:`locate` found."""
    found = list(parts(source, name))
    return pa.concat_tables(found) if found else versioned(TABLES[name]).empty_table()


def parts(source: LocatedFiles, name: str) -> Iterator[pa.Table]:
    """One table in parts. The records of many small files are joined in batches: a column of a table of one
    record takes a hundred times the memory of the record."""
    small: list[pa.Table] = []
    for path in source.files[name]:
        table = read_parquet(path, name)
        if skip := source.skip.get(path):
            table = table.filter(pc.invert(pc.is_in(table["run_id"], pa.array(sorted(skip)))))
        if table.num_rows > _SMALL_TABLE:
            yield table
            continue
        small.append(table)
        if len(small) == _FILES_AT_A_TIME:
            yield pa.concat_tables(small).combine_chunks()
            small = []
    if small:
        yield pa.concat_tables(small).combine_chunks()


def results_paths(folders: Folders) -> list[Path]:
    """The ``runs`` folders of results folders; ``ValueError`` if one does not exist."""
    given = [folders] if isinstance(folders, str | Path) else list(folders)
    for folder in given:
        if not refuse_storage(folder).is_dir():
            raise ValueError(f"no results folder {str(folder)!r}")
    return [runs_folder(f) for f in given]


def steadily(action: Callable[[], _T]) -> _T:
    """Repeat ``action`` if a file disappeared between listing and reading: because of a compaction, or
    because a run was marked as unfinished again."""
    damaged = 0
    for _ in range(_ATTEMPTS - 1):
        try:
            return action()
        except FileNotFoundError:
            continue
        except DamagedFile:
            damaged += 1
            if damaged == _DAMAGED_ATTEMPTS:
                raise
    return action()
