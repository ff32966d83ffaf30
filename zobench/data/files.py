"""Readers of file formats of public data: labelled lines, JSON lines, the PASCAL RTE archive."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from zobench.data.example import Example

LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Lines that may contain half of a surrogate pair, which cannot be tokenized or written to a file."""

_CORRUPT = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(KeyError, ElementTree.ParseError),
)


_MOST_MEMBER = 2**26
"""Largest XML file that is unpacked from an archive, in bytes."""
_MOST_DIGITS = 9


def parsed(text: str, place: str) -> Any:
    """The JSON value of a text; ``ValueError`` naming the place if it is not one, or cannot be written as
    UTF-8 again."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{place}: JSON nested too deeply") from error
    except ValueError as error:  # also for whole numbers of thousands of digits
        raise ValueError(f"{place}: not JSON: {error}") from error
    if LONE_SURROGATE.search(text):
        check_text(value, place)
    return value


def utf8(path: Path, *, encoding: str = "utf-8") -> str:
    """The file's text; ``ValueError`` naming the file and the byte if it is not in this encoding."""
    try:
        return path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error


def json_file(path: Path) -> Any:
    """The JSON value of a file; errors as in :func:`parsed`."""
    return parsed(utf8(path), str(path))


def parquet_rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names and records of a parquet file; ``ValueError`` if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        if twice := sorted({c for c in table.column_names if table.column_names.count(c) > 1}):
            raise ValueError(f"column {twice[0]!r} appears twice")
        return table.column_names, table.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{path}: not a parquet file that can be read ({told})") from error


def check_text(row: Any, place: str) -> None:
    """``ValueError`` if a text of the record cannot be written as UTF-8."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{place}: a text contains half of a surrogate pair") from error


def check_cells(example: Example) -> None:
    """``ValueError`` if a text of the example is null or not text."""
    for field, value in example.text.items():
        if not isinstance(value, str):
            raise ValueError(f"{example.id}: {field} is {value!r}, not text")


def labelled_lines(path: Path, *, encoding: str = "utf-8") -> Iterator[tuple[int, int, str]]:
    """(line number from 0, label, text) of lines ``LABEL text``; only a line feed ends a line."""
    for number, line in enumerate(utf8(path, encoding=encoding).split("\n")):
        if not line:
            continue
        label, _, text = line.partition(" ")
        if not label.isdecimal() or len(label) > _MOST_DIGITS:
            raise ValueError(f"{path}:{number + 1}: expected 'LABEL text', found {line[:40]!r}")
        yield number, int(label), text.strip()


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; ``ValueError`` names the line that is not one."""
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = parsed(line, f"{path}:{number}")
                if not isinstance(row, dict):
                    raise ValueError(f"{path}:{number}: expected an object, found {type(row).__name__}")
                yield row
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 after line {number}; save it as UTF-8") from error


def rte_pairs(path: Path, member: str) -> Iterator[tuple[str, str, str, bool]]:
    """(pair id, text, hypothesis, entailed) of one XML file in the PASCAL RTE archive.

    RTE-1 marks entailment as ``value="TRUE"``, RTE-2 and RTE-3 as ``entailment="YES"``.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            body = file.read(_MOST_MEMBER + 1)
        if len(body) > _MOST_MEMBER:
            raise ValueError(f"{path}: {member} is larger than {_MOST_MEMBER} bytes")
        root = ElementTree.fromstring(body)
    except _CORRUPT as error:
        raise ValueError(f"{path}: cannot read {member}: {error}") from error
    for pair in root.iter("pair"):
        mark = pair.get("value") or pair.get("entailment") or ""
        text, hypothesis = pair.findtext("t") or "", pair.findtext("h") or ""
        yield str(pair.get("id")), text.strip(), hypothesis.strip(), mark in ("TRUE", "YES")
