"""Damaged data files are refused with a message that names the file and the line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from zobench.data import files
from zobench.data.advglue import adversarial_rows
from zobench.data.example import Example
from zobench.data.files import json_lines, labelled_lines, rte_pairs
from zobench.data.records import read_records
from zobench.data.rephrase import accepted
from zobench.data.superglue import examples
from zobench.models.resolve import require_safetensors
from zobench.unlearning.sources import rows_of


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"a": "\\ud800"}', '{"a": ', "[1]", '{"a": ' + "9" * 5000 + "}"],
    ids=["deep", "surrogate", "cut", "list", "long number"],
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


DAMAGED = {
    "deep": "[" * 100_000,
    "cut": '{"a": ',
    "number": '{"a": ' + "9" * 5000 + "}",
    "surrogate": '{"a": "\\ud800"}',
    "null": "null",
    "other": '{"a": [1]}',
    "list": "[1]",
    "not UTF-8": b'{"a": "\xff"}',
}


def _advglue(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = path.parent / "advglue" / "dev.json"
    target.parent.mkdir()
    path.rename(target)
    monkeypatch.setenv("ZOBENCH_DATA", str(path.parent))
    adversarial_rows("sst2", "local")


def _weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "config.json").write_text("{}")
    path.rename(path.parent / "model.safetensors.index.json")
    require_safetensors(path.parent, "m")


READERS = {
    "AdvGLUE": _advglue,
    "index of weights": _weights,
    "facts": lambda path, _: rows_of(path, "forget"),
    "rephrasings": lambda path, _: accepted([Example("e", {"t": "x"})], "t", path),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DAMAGED)
def test_every_reader_of_json_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, kind: str
) -> None:
    body = DAMAGED[kind]
    path = tmp_path / "damaged.json"
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    with pytest.raises(ValueError, match="json") as found:
        READERS[reader](path, monkeypatch)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 500


@pytest.mark.parametrize("body", [b"", b"PAR1" * 20, b"PAR1" + bytes(40) + b"PAR1"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(body)
    for reader in (lambda: read_records(str(path)), lambda: rows_of(path, "forget")):
        with pytest.raises(ValueError, match=r"rows\.parquet: not a parquet file"):
            reader()


def test_null_cells_of_adversarial_rows_and_facts_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "advglue").mkdir()
    (tmp_path / "advglue" / "dev.json").write_text('{"sst2": [{"sentence": null, "label": 0}]}')
    monkeypatch.setenv("ZOBENCH_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="advglue/sst2/0: sentence is None"):
        adversarial_rows("sst2", "local")
    path = tmp_path / "facts.jsonl"
    path.write_text('{"question": null, "answer": "a"}\n')
    with pytest.raises(ValueError, match=r"facts\.jsonl"):
        rows_of(path, "forget")
    path.write_text('{"question": "q", "choices": ["a"], "answer": 7}\n')
    with pytest.raises(ValueError, match="7 is not the number of one of 1 choices"):
        rows_of(path, "forget")


def test_long_labels_and_large_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines.txt").write_text("9" * 5000 + " text\n")
    with pytest.raises(ValueError, match=r"lines\.txt:1"):
        list(labelled_lines(tmp_path / "lines.txt"))
    path = tmp_path / "rte.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", "<r>" + " " * 5000 + "</r>")
    monkeypatch.setattr(files, "_MOST_MEMBER", 1000)
    with pytest.raises(ValueError, match=r"rte\.zip: a\.xml is larger than 1000 bytes"):
        list(rte_pairs(path, "a.xml"))


def test_a_line_separator_inside_a_rephrasing_is_no_new_line(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text('{"before": "a\u2028b", "after": "c", "reason": ""}\n', encoding="utf-8")
    (found,) = accepted([Example("e", {"t": "a\u2028b"})], "t", path)
    assert found.text["t"] == "c"
