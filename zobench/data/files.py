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
    for number, line in enumerate(path.read_text(encoding=encoding).split("\n")):
        if not line:
            continue
        label, _, text = line.partition(" ")
        if not label.isdecimal():
            raise ValueError(f"{path}:{number + 1}: expected 'LABEL text', found {line[:40]!r}")
        yield number, int(label), text.strip()


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; ``ValueError`` names the line that is not one."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except RecursionError as error:
                raise ValueError(f"{path}:{number}: JSON nested too deeply") from error
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number}: not JSON: {error}") from error
            if LONE_SURROGATE.search(line):
                check_text(row, f"{path}:{number}")
            if not isinstance(row, dict):
                raise ValueError(f"{path}:{number}: expected an object, found {type(row).__name__}")
            yield row


def rte_pairs(path: Path, member: str) -> Iterator[tuple[str, str, str, bool]]:
    """(pair id, text, hypothesis, entailed) of one XML file in the PASCAL RTE archive.

    RTE-1 marks entailment as ``value="TRUE"``, RTE-2 and RTE-3 as ``entailment="YES"``.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            root = ElementTree.parse(file).getroot()
    except _CORRUPT as error:
        raise ValueError(f"{path}: cannot read {member}: {error}") from error
    for pair in root.iter("pair"):
        mark = pair.get("value") or pair.get("entailment") or ""
        text, hypothesis = pair.findtext("t") or "", pair.findtext("h") or ""
        yield str(pair.get("id")), text.strip(), hypothesis.strip(), mark in ("TRUE", "YES")
