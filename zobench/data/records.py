"""Records of a user's own file (CSV, TSV, JSON Lines or parquet) or of a data set on the hub.

Values are read as the text in the file: ``1`` stays "1" and does not become 1.0, ``007`` keeps its zeros.
Text files are UTF-8, with or without a byte order mark. The extension determines the delimiter (``.csv``:
comma, ``.tsv``: tab); cells may be quoted and contain line breaks.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zobench.data.files import json_lines, parquet_rows
from zobench.names import suggestion

HUB = "hub:"
"""Prefix of a data set on the hub: ``hub:owner/name``, ``hub:owner/name@split``."""
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_MARKS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_WIDEST_CELL = 1 << 27


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``number`` is its position in the file, starting at 1 and not counting the header line."""

    number: int
    values: dict[str, Any]

    def text(self, column: str) -> str:
        """The cell as text; empty for a null or missing one."""
        return as_text(self.values.get(column))


@dataclass(frozen=True, slots=True)
class Records:
    """All records of one source and its column names. The ids of its examples start with ``prefix``."""

    source: str
    columns: tuple[str, ...]
    rows: tuple[Record, ...]
    prefix: str = ""

    def require(self, column: str, key: str) -> None:
        """``ValueError`` naming the key of the suite if the source has no such column."""
        if column not in self.columns:
            hint = _other_delimiter(self) or suggestion(column, self.columns)
            raise ValueError(f"{key}: {self.source} has no column {column!r}; {hint}")

    def at(self, record: Record) -> str:
        """Source and number of a record, for messages."""
        return f"{self.source}, record {record.number}"


def _other_delimiter(records: Records) -> str:
    """What to do about a file that seems to be delimited by another character; empty for all other files."""
    suffix, heading = Path(records.source).suffix, records.columns[0]
    if len(records.columns) > 1 or suffix not in _DELIMITERS:
        return ""
    found = next((mark for mark in _MARKS if mark in heading and mark != _DELIMITERS[suffix]), "")
    if not found:
        return ""
    named = next((f", or name it {other}" for other, mark in _DELIMITERS.items() if mark == found), "")
    expected = _MARKS[_DELIMITERS[suffix]]
    return (
        f"its heading {heading!r} is one cell, because {suffix} files are delimited by {expected} and this "
        f"one seems to have {_MARKS[found]}: save it with {expected}{named}"
    )


def as_text(value: Any) -> str:
    """A cell as text: numbers and Booleans as in JSON, empty for null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def read_records(source: str, *, revision: str | None = None) -> Records:
    """The records of a file, or of ``hub:owner/name``.

    Raises:
        ValueError: no such file, an unsupported kind of file, a record that cannot be read (with its
            position), a file without records, or an error of the hub.
    """
    if source.startswith(HUB):
        return _of_hub(source, revision)
    path = Path(source).expanduser()
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{source}: files of own data end in {', '.join(SUFFIXES)}; or write {HUB}OWNER/NAME"
        )
    if not path.is_file():
        raise ValueError(f"{source}: no such file")
    try:
        if path.suffix == ".parquet":
            columns, rows = _of_parquet(path)
        elif path.suffix == ".jsonl":
            columns, rows = _of_objects(list(json_lines(path)))
        else:
            columns, rows = _of_lines(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    if not rows:
        raise ValueError(f"{source}: contains no records")
    return Records(source, columns, rows)


def _of_lines(path: Path) -> tuple[tuple[str, ...], tuple[Record, ...]]:
    csv.field_size_limit(_WIDEST_CELL)
    # newline="": the csv reader handles line breaks itself, so that those within quotes are kept.
    with path.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.reader(opened, delimiter=_DELIMITERS[path.suffix], strict=True)
        try:
            return _with_headings(path, reader)
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}") from error


def _with_headings(path: Path, reader: Any) -> tuple[tuple[str, ...], tuple[Record, ...]]:
    columns = tuple(next(reader, ()))
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise ValueError(f"{path}:1: column {twice[0]!r} appears twice")
    rows: list[Record] = []
    for cells in reader:
        if not cells:  # an empty line, as at the end of many files
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"{path}:{reader.line_num}: {len(cells)} cells, the heading has {len(columns)}; quote cells "
                "that hold the delimiter"
            )
        rows.append(Record(len(rows) + 1, dict(zip(columns, cells, strict=True))))
    return columns, tuple(rows)


def _of_parquet(path: Path) -> tuple[tuple[str, ...], tuple[Record, ...]]:
    columns, rows = parquet_rows(path)
    return tuple(columns), tuple(Record(n, row) for n, row in enumerate(rows, 1))


def _of_objects(objects: list[dict[str, Any]]) -> tuple[tuple[str, ...], tuple[Record, ...]]:
    columns = tuple(dict.fromkeys(key for row in objects for key in row))
    return columns, tuple(Record(n, row) for n, row in enumerate(objects, 1))


def _of_hub(source: str, revision: str | None) -> Records:
    from zobench.data.hub import rows

    name, _, split = source.removeprefix(HUB).partition("@")
    columns, found = _of_objects(rows(name, subset=None, split=split or "train", revision=revision))
    if not found:
        raise ValueError(f"{source}: contains no records")
    return Records(source, columns, found)


def distinct(records: Records, column: str) -> Iterator[str]:
    """Distinct values of a column as text, in the order of the file."""
    return iter(dict.fromkeys(record.text(column) for record in records.rows))
