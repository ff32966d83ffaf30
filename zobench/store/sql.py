"""SQL over results: DuckDB with one view per table, restricted to the files of these tables.

Two properties of DuckDB (2.0) need special treatment. First, the row-group statistics of a parquet file
ignore NaN, and DuckDB relies on them: ``isnan(loss)`` finds nothing in a file whose losses are NaN. Second,
DuckDB interprets file names as patterns, so ``*``, ``?`` and ``[`` in a folder's name must be escaped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from zobench.store.digests import DamagedFile
from zobench.store.gathering import readable
from zobench.store.reader import Folders, LocatedFiles, locate, results_paths, steadily
from zobench.store.schema import FINALS, TABLES

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


def connect() -> duckdb.DuckDBPyConnection:
    """A connection that handles NaN correctly (see the module's docstring)."""
    import duckdb

    connection = duckdb.connect(config={"disabled_optimizers": "statistics_propagation"})
    # The second setting exists only once the parquet extension, which the package contains, is loaded.
    connection.execute("load parquet")
    connection.execute("set parquet_can_have_nan = true")
    return connection


def frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a data frame with the same column types as :func:`zobench.store.read`.

    DuckDB's sums of integers are decimals of 38 digits. Decimals without fraction are converted to 64-bit
    integers, others to floats.
    """
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            kind = pa.int64() if field.type.scale == 0 else pa.float64()
            table = table.set_column(place, field.name, table.column(place).cast(kind))
    return table.to_pandas()


def view_files(connection: Any, name: str, paths: Sequence[Path]) -> None:
    """Register parquet files as the view ``name``; queries scan them in place. ``DamagedFile`` names one
    whose description DuckDB cannot read."""
    import duckdb

    try:
        connection.read_parquet([literal(p) for p in paths], union_by_name=True).create_view(name)
    except duckdb.Error as error:
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(path) from error
            try:
                connection.read_parquet(literal(path))
            except duckdb.Error as broken:
                raise DamagedFile(path, "DuckDB cannot read it as parquet") from broken
        raise


def literal(path: Path) -> str:
    """The path as a pattern that matches only this path."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def query(sql: str, folders: Folders, *, allow_files: bool = False) -> pd.DataFrame:
    """DuckDB SQL over the tables, each a view of its name, and over the view ``finals``
    (:attr:`~zobench.store.reader.Results.finals`): ``query("select row, avg(value) from finals where metric =
    'accuracy' group by row", "reports/x")``.

    Args:
        allow_files: allow any statement, which may read and write any file. By default only one SELECT, WITH,
            DESCRIBE or EXPLAIN statement is allowed, and DuckDB can open only the files of the tables.

    Raises:
        ValueError: a folder does not exist, or the statement is not of these kinds.
        duckdb.Error: DuckDB rejects the statement.
    """
    import duckdb

    paths = results_paths(folders)

    def ask() -> pd.DataFrame:
        source = locate(paths, tuple(TABLES))
        with tempfile.TemporaryDirectory(prefix="zobench-") as scratch, connect() as connection:
            scanned = [path for name in TABLES for path in view(connection, source, name, Path(scratch))]
            connection.execute(f"create view finals as {FINALS}")
            if not allow_files:
                _check_statement(connection, sql)
                _close(connection, scanned)
            try:
                found = connection.sql(sql)
                # A statement without rows, such as COPY, gives no relation.
                return frame(pa.table({}) if found is None else found.to_arrow_table())
            except duckdb.IOException as error:
                _raise_if_gone(source, error)
                raise

    return steadily(ask)


def _check_statement(connection: Any, sql: str) -> None:
    """Check, with DuckDB's own parser, that ``sql`` is one statement that only reads."""
    import duckdb

    if any("\ud800" <= c <= "\udfff" for c in sql):
        raise ValueError("the query contains half of a surrogate pair, which cannot be written as UTF-8")
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if kinds == [duckdb.StatementType.EXPLAIN]:
        kinds = _explained(connection, sql)
    if kinds != [duckdb.StatementType.SELECT]:
        found = ", ".join(kind.name for kind in kinds) or "nothing"
        raise ValueError(
            f"a query must be one SELECT, WITH, DESCRIBE or EXPLAIN statement, not {found}; --allow-files "
            "allows any statement, which may then read and write files"
        )


def _explained(connection: Any, sql: str) -> list[Any]:
    """Kinds of the statements inside an EXPLAIN statement.

    EXPLAIN ANALYZE executes them, and the files of the tables, which DuckDB may open, could be the target of
    a COPY. ANALYZE and options in brackets do not form a statement with the rest, so the first suffix that
    DuckDB's parser accepts is what is explained.
    """
    import duckdb

    text = sql.encode()
    for offset, _ in duckdb.tokenize(sql)[1:]:
        try:
            found = connection.extract_statements(text[offset:].decode())
        except (duckdb.Error, UnicodeDecodeError):
            continue
        return [statement.type for statement in found]
    return [duckdb.StatementType.EXPLAIN]


def _close(connection: Any, paths: Sequence[Path]) -> None:
    """Allow only the tables' files; block other files, Python variables of this process and settings."""
    # DuckDB compares both the pattern and the file that it matched with the list.
    allowed = sorted({form for p in paths for form in (str(p), literal(p))})
    quoted = ", ".join("'" + form.replace("'", "''") + "'" for form in allowed)
    # allowed_paths first: it cannot be set once external access is off, and the views need it.
    connection.execute(f"set allowed_paths = [{quoted}]")
    connection.execute("set python_enable_replacements = false")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def view(connection: Any, source: LocatedFiles, name: str, scratch: Path) -> list[Path]:
    """Register a table; returns the files that queries scan in place, which may be in the folder ``scratch``
    (:func:`.gathering.readable`)."""
    found = readable(source, name, scratch)
    if isinstance(found, pa.Table):
        connection.register(name, found)
        return []
    view_files(connection, name, found)
    return found


def _raise_if_gone(source: LocatedFiles, error: Exception) -> None:
    for paths in source.files.values():
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(path) from error
