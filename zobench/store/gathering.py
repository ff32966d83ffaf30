"""Copies tables that lie in many files into one temporary file each, which DuckDB scans in place.

DuckDB opens every file of a view to know its columns, and each query opens them again. Records are copied in
batches, so that memory does not grow with the number of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from zobench.store import files
from zobench.store.reader import LocatedFiles, check_version, load, parts, unless_broken
from zobench.store.schema import TABLES
from zobench.store.writer import versioned

MANY_FILES = 16
"""Runs that were not compacted have one file each. A table with at least this many files is read once instead
of being scanned on disk by every query."""
IN_MEMORY_BYTES = 256 * 2**20
"""Tables larger than this on disk are never read whole."""


def readable(source: LocatedFiles, name: str, scratch: Path) -> pa.Table | list[Path]:
    """A table in the form in which DuckDB reads it best: its files if they are few and follow the schema,
    otherwise the records in memory, or one file in the folder ``scratch`` if they are large."""
    paths = source.files[name]
    doubled = any(source.skip.get(p) for p in paths)
    if paths and not doubled and len(paths) < MANY_FILES and all(follows_schema(p, name) for p in paths):
        return paths
    if sum(p.stat().st_size for p in paths) < IN_MEMORY_BYTES:
        return load(source, name)
    target = scratch / f"{name}.parquet"
    write_parts(target, name, parts(source, name))
    return [target]


def follows_schema(path: Path, name: str) -> bool:
    """Whether the file has the columns of the schema with their types, and no others, so that it can be
    scanned in place; its schema version is checked as well."""
    schema = unless_broken(path, lambda: pq.read_schema(path))
    check_version(path, schema)
    names = unless_broken(path, lambda: sorted(schema.names))
    return names == sorted(TABLES[name].names) and all(
        schema.field(field.name).type == field.type for field in TABLES[name]
    )


def write_parts(target: Path, name: str, records: Iterable[pa.Table]) -> int:
    """Write the parts of a table one after the other into one file; returns the number of records. On a full
    disk the incomplete file is removed."""
    rows = 0
    try:
        with pq.ParquetWriter(target, versioned(TABLES[name]), compression="zstd") as writer:
            for part in records:
                rows += part.num_rows
                writer.write_table(part)
    except OSError:
        files.remove_file(target)
        raise
    return rows
