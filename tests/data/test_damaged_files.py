"""Damaged data files are refused with a message that names the file and the line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from zobench.data.files import json_lines, rte_pairs
from zobench.data.superglue import examples


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"a": "\\ud800"}', '{"a": ', "[1]"], ids=["deep", "surrogate", "cut", "list"]
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "good \\ud83d\\ude00"}\n' + line + "\n")
    rows = json_lines(path)
    assert next(rows) == {"a": "good \U0001f600"}
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: "):
        next(rows)


def test_a_corrupt_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rte.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", "<r>" + "<pair/>" * 500 + "</r>")
    body = bytearray(path.read_bytes())
    body[40:60] = bytes(255 - b for b in body[40:60])
    path.write_bytes(bytes(body))
    with pytest.raises(ValueError, match=r"rte\.zip: cannot read a\.xml"):
        list(rte_pairs(path, "a.xml"))


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("rte", {"premise": None, "hypothesis": "b", "label": "entailment"}),
        ("boolq", {"passage": "a", "question": None, "label": True}),
        ("rte", {"premise": "a", "hypothesis": "b", "label": None}),
    ],
)
def test_a_null_cell_is_named(task: str, row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="train/7"):
        list(examples(task, "train/7", row))
