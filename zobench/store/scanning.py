"""Some columns of a table, a row group at a time: for tables that would fill the memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zobench.store.digests import DamagedFile
from zobench.store.reader import LocatedFiles, check_version, unless_broken
from zobench.store.schema import TABLES


def records(source: LocatedFiles, name: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The records of a table as tuples of these columns and the run id, which comes first; a column that a
    file lacks is ``None``."""
    for path in source.files[name]:
        skip = source.skip.get(path, frozenset())
        for part in _groups(path, name, ("run_id", *columns)):
            values = [part[column].to_pylist() for column in ("run_id", *columns)]
            yield from (record for record in zip(*values, strict=True) if record[0] not in skip)


def _groups(path: Path, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    with unless_broken(path, lambda: pq.ParquetFile(path)) as file:
        check_version(path, file.schema_arrow)
        for group in range(file.metadata.num_row_groups):
            try:
                yield unless_broken(path, functools.partial(_columns, file, group, name, columns))
            except KeyError as error:  # a column that appears twice
                raise DamagedFile(path, f"its columns are not those of the table {name!r}") from error


def _columns(file: pq.ParquetFile, group: int, name: str, columns: Sequence[str]) -> pa.Table:
    held = [column for column in columns if column in file.schema_arrow.names]
    table = file.read_row_group(group, columns=held, use_threads=False)
    for column in sorted(set(columns) - set(held)):
        table = table.append_column(column, pa.nulls(table.num_rows, TABLES[name].field(column).type))
    found = table.select(columns).cast(pa.schema([TABLES[name].field(column) for column in columns]))
    found.validate(full=True)  # text that is not UTF-8 would raise only when it is used
    return found
