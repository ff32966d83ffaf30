"""SQL over results: DuckDB with one view per table, which reads these files and nothing else.

Two facts of DuckDB (2.0) decide how a connection is made. A parquet file's row-group statistics leave NaN
out, and DuckDB takes them at their word: ``isnan(loss)`` finds nothing in a file whose loss is NaN. And a
list of files is a list of patterns, in which ``*``, ``?`` and ``[`` of a folder's name would stand for
something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from zobench.store.reader import Folders, LocatedFiles, has_all_columns, load, locate, results_paths, steadily
from zobench.store.schema import FINALS, TABLES

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


def connect() -> duckdb.DuckDBPyConnection:
    """A connection whose answers count NaN rows as rows."""
    import duckdb

    connection = duckdb.connect(config={"disabled_optimizers": "statistics_propagation"})
    # The second setting exists only once the parquet extension, which the package contains, is loaded.
    connection.execute("load parquet")
    connection.execute("set parquet_can_have_nan = true")
    return connection


def frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a data frame with the types that :func:`zobench.store.read` gives the same columns.

    DuckDB's sums of whole numbers are decimals of 38 digits: they become 64-bit integers, other decimals
    floats.
    """
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            kind = pa.int64() if field.type.scale == 0 else pa.float64()
            table = table.set_column(place, field.name, table.column(place).cast(kind))
    return table.to_pandas()


def view_files(connection: Any, name: str, paths: Sequence[Path]) -> None:
    """Register parquet files, scanned in place, as the view ``name``."""
    connection.read_parquet([literal(p) for p in paths], union_by_name=True).create_view(name)


def literal(path: Path) -> str:
    """The path as a pattern that only it matches."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def query(sql: str, folders: Folders, *, allow_files: bool = False) -> pd.DataFrame:
    """DuckDB SQL over the tables, each a view of its name, and over the view ``finals``
    (:attr:`~zobench.store.reader.Results.finals`): ``query("select row, avg(value) from finals where metric =
    'accuracy' group by row", "reports/x")``.

    Args:
        allow_files: let the statement be any, and read and write any file. By default it is one SELECT, WITH,
            DESCRIBE or EXPLAIN, and DuckDB opens the files of the tables only.

    Raises:
        ValueError: a folder does not exist, or the statement is not of these kinds.
        duckdb.Error: what DuckDB says of the statement.
    """
    import duckdb

    paths = results_paths(folders)

    def ask() -> pd.DataFrame:
        source = locate(paths, tuple(TABLES))
        with connect() as connection:
            for name in TABLES:
                _view(connection, source, name)
            connection.execute(f"create view finals as {FINALS}")
            if not allow_files:
                _check_statement(connection, sql)
                _close(connection, [p for found in source.files.values() for p in found])
            try:
                found = connection.sql(sql)
                # A statement without rows, such as COPY, gives no relation.
                return frame(pa.table({}) if found is None else found.to_arrow_table())
            except duckdb.IOException as error:
                _raise_if_gone(source, error)
                raise

    return steadily(ask)


def _check_statement(connection: Any, sql: str) -> None:
    """One reading statement, by DuckDB's own parser."""
    import duckdb

    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if len(kinds) != 1 or kinds[0] not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        found = ", ".join(kind.name for kind in kinds) or "nothing"
        raise ValueError(
            f"a query is one SELECT, WITH, DESCRIBE or EXPLAIN statement, not {found}; --allow-files lets "
            "any statement run, which may then read and write files"
        )


def _close(connection: Any, paths: Sequence[Path]) -> None:
    """Allow the tables' files alone, then no other file, variable of this process or setting."""
    allowed = sorted({form for p in paths for form in (str(p), literal(p))})
    quoted = ", ".join("'" + form.replace("'", "''") + "'" for form in allowed)
    # In this order: with external access off the views themselves could not be read.
    connection.execute(f"set allowed_paths = [{quoted}]")
    connection.execute("set python_enable_replacements = false")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _view(connection: Any, source: LocatedFiles, name: str) -> None:
    """Register a table: files are scanned in place, except where a run must be left out or there is no
    file."""
    paths = source.files[name]
    if not paths or any(source.skip.get(p) or not has_all_columns(p, name) for p in paths):
        connection.register(name, load(source, name))
        return
    view_files(connection, name, paths)


def _raise_if_gone(source: LocatedFiles, error: Exception) -> None:
    for paths in source.files.values():
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(path) from error
