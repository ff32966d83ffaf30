"""Tasks over a user's own file: reading, parts, labels, answers; errors name file and record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zobench.data.records import read_records
from zobench.parameters import configure, literal
from zobench.plugins import lookup
from zobench.tasks.matching import is_right

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return str(path)

    return made


def task(name: str, **params: Any) -> Any:
    found = lookup("tasks", name)
    return found(configure(found.Config, params))


def reviews(count: int = 20) -> str:
    rows = [f'"film {i}, {"good" if i % 2 else "bad"}",{5 if i % 2 else 1}' for i in range(count)]
    return "text,stars\n" + "\n".join(rows) + "\n"


def test_labels_are_the_text_in_the_file(write: Write) -> None:
    made = task(
        "classification",
        data=write("r.csv", "﻿" + reviews()),
        label="stars",
        template="{text} It was",
        words={"1": "terrible", "5": "great"},
    )
    splits = made.splits(0)
    assert made.prompt.words == ("terrible", "great")
    every = [*splits.train, *splits.validation, *splits.test]
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (12, 4, 4)
    assert {e.text["text"]: e.label for e in every} == {
        f"film {i}, {'good' if i % 2 else 'bad'}": i % 2 for i in range(20)
    }
    assert made.splits(1) == splits


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("a.csv", "id,n\na,007\n", "007"),
        ("a.tsv", "id\tn\na\t1,5\n", "1,5"),
        ("a.csv", 'id,n\na,"two\nlines"\n', "two\nlines"),
        ("a.csv", "id,n\na,NA\n", "NA"),
        ("a.jsonl", '{"id": "a", "n": 1.0}\n', "1.0"),
        ("a.jsonl", '{"id": "a", "n": true}\n', "true"),
        ("a.jsonl", '{"id": "a", "n": null}\n', ""),
        ("a.jsonl", '{"id": "a"}\n{"id": "b", "n": 2}\n', ""),
    ],
)
def test_cells_stay_as_they_are_written(write: Write, name: str, text: str, value: str) -> None:
    assert read_records(write(name, text)).rows[0].text("n") == value


def test_parquet_keeps_whole_numbers_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"stars": pa.array([1, None, 5], pa.int64())}), path)
    assert [r.text("stars") for r in read_records(str(path)).rows] == ["1", "", "5"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "", r"a\.csv: contains no records"),
        ("a.csv", "text,label\n", r"a\.csv: contains no records"),
        ("a.csv", "text,label\na,b,c\n", r"a\.csv:2: 3 cells, the heading has 2"),
        ("a.csv", 'text,label\n"a,b\n', r"a\.csv:\d: unexpected end of data"),
        ("a.csv", "x,x\na,b\n", r"column 'x' appears twice"),
        ("a.jsonl", '{"a": 1}\n[1]\n', r"a\.jsonl:2: expected an object"),
        ("a.parquet", "no parquet", r"not a parquet file"),
        ("a.xlsx", "x", r"files of own data end in \.csv, \.tsv, \.jsonl, \.parquet"),
    ],
)
def test_files_that_cannot_be_read_are_refused(write: Write, name: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_records(write(name, text))


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\ncafé,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"not UTF-8 at byte \d+"):
        read_records(str(path))
    with pytest.raises(ValueError, match="no such file"):
        read_records(str(tmp_path / "b.csv"))


def test_another_delimiter_is_named(write: Write) -> None:
    semicolons = read_records(write("a.csv", "text;stars\nfine;5\n"))
    with pytest.raises(ValueError, match=r"delimited by commas .* semicolons: save it with commas$"):
        semicolons.require("stars", "label")
    tabs = read_records(write("b.csv", "text\tstars\nfine\t5\n"))
    with pytest.raises(ValueError, match=r"have tabs: save it with commas, or name it \.tsv"):
        tabs.require("stars", "label")
    one = read_records(write("c.csv", "text\nfine\n"))
    with pytest.raises(ValueError, match="no column 'stars'; valid: text"):
        one.require("stars", "label")


def test_wrong_columns_and_labels_name_the_nearest_and_the_record(write: Write) -> None:
    file = write("r.csv", reviews())
    params = {"data": file, "label": "stars", "template": "{text} It was", "words": {"1": "bad"}}
    with pytest.raises(ValueError, match=r"label: .* has no column 'star'; did you mean 'stars'"):
        task("classification", **{**params, "label": "star"}).splits(0)
    with pytest.raises(ValueError, match=r"template: .* has no column 'txt'; did you mean 'text'"):
        task("classification", **{**params, "template": "{txt} It was"}).splits(0)
    with pytest.raises(ValueError, match=r"r\.csv, record 2: label '5' is not among words \(1\)"):
        task("classification", **params).splits(0)
    with pytest.raises(ValueError, match=r"template: 'text It was' names no column of .*put one in braces"):
        task("classification", **{**params, "template": "text It was"}).splits(0)
    with pytest.raises(ValueError, match=r"words: .* not distinct; .*'bad' stands twice"):
        task("classification", **{**params, "words": {"1": "bad", "5": "bad"}})
    with pytest.raises(ValueError, match=r"compared as text: write '1' in words.* in place of '1\.0'"):
        task("classification", **{**params, "words": {"1.0": "bad", "5.0": "good"}}).splits(0)
    found = task("classification", **params, drop=True).examined()
    splits, notes = found.splits, found.notes
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 10
    assert notes == [f"{file}: 10 records left out by drop"]


def test_without_words_the_labels_are_the_words(write: Write) -> None:
    made = task("classification", data=write("r.csv", reviews()), label="stars", template="{text}")
    assert made.classes == made.prompt.words == ("1", "5")
    many = "text,label\n" + "".join(f"a,{i}\n" for i in range(60))
    with pytest.raises(ValueError, match="has 60 different values"):
        task("classification", data=write("m.csv", many), template="{text}")


def test_equal_texts_stay_on_one_side(write: Write) -> None:
    lines = "".join(f"text {i % 15},{i % 2}\n" for i in range(60))
    made = task("classification", data=write("d.csv", "text,label\n" + lines), template="{text}")
    found = made.examined()
    splits, notes = found.splits, found.notes
    sides = [{e.text["text"] for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides)) == 15
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [36, 12, 12]
    assert notes == []


def test_parts_by_files_and_by_column(write: Write) -> None:
    train, test = write("train.csv", reviews(10)), write("test.csv", reviews(4))
    params = {"label": "stars", "template": "{text}"}
    found = task("classification", data=train, test=test, shares=[0.8, 0.2, 0.1], **params).examined()
    splits, notes = found.splits, found.notes
    assert [e.id for e in splits.test] == ["test-1", "test-2", "test-3", "test-4"]
    assert (len(splits.train), len(splits.validation)) == (8, 2)
    assert notes[0].startswith("4 texts stand in more than one part, for instance record ")
    assert f"of {test}" in notes[0]
    assert notes[0].endswith(f" of {train}")
    column = "text,stars,part\n" + "".join(
        f"t{i},{i % 2},{['train', 'Dev', 'test'][i % 3]}\n" for i in range(9)
    )
    by_column = task("classification", data=write("c.csv", column), split="part", **params).splits(0)
    assert [e.id for e in by_column.validation] == ["2", "5", "8"]
    wrong = column.replace("Dev", "tset")
    with pytest.raises(ValueError, match=r"w\.csv, record 2: column 'part' says 'tset'"):
        task("classification", data=write("w.csv", wrong), split="part", **params).splits(0)


@pytest.mark.parametrize(
    ("answers", "reading"),
    [(["b", "a", "c"], "column"), (["B", "A", "C"], "letter"), (["1", "0", "2"], "number")],
)
def test_the_right_option_is_named_in_one_way(write: Write, answers: list[str], reading: str) -> None:
    rows = [
        {"q": f"q{i}", "a": f"x{i}", "b": f"y{i}", "c": f"z{i}", "gold": g} for i, g in enumerate(answers)
    ]
    file = write("q.jsonl", "\n".join(map(json.dumps, rows)))
    params = {"data": file, "test": file, "validation": file}
    made = task("choice", **params, question="q", options=["a", "b", "c"], answer="gold")
    train = made.splits(0).train
    assert [e.label for e in train] == [1, 0, 2]
    assert train[0].candidates == ("x0", "y0", "z0")
    assert made._reading == reading
    texts = [{**row, "gold": row["abc"[i]]} for row, i in zip(rows, (1, 0, 2), strict=True)]
    by_text = write("t.jsonl", "\n".join(map(json.dumps, texts)))
    params = {"data": by_text, "test": by_text, "validation": by_text}
    found = task("choice", **params, question="q", options=["a", "b", "c"], answer="gold").splits(0)
    assert [e.label for e in found.train] == [1, 0, 2]


def test_answers_that_can_be_read_in_two_ways_are_refused(write: Write) -> None:
    rows = [{"question": "q", "options": ["2", "1", "0"], "answer": "0"}]
    file = write("q.jsonl", "\n".join(map(json.dumps, rows)))
    params = {"data": file, "test": file, "validation": file}
    with pytest.raises(ValueError, match="fit several readings that disagree"):
        task("choice", **params).splits(0)
    assert task("choice", **params, answer_is="text").splits(0).train[0].label == 2
    assert task("choice", **params, answer_is="number").splits(0).train[0].label == 0
    wrong = write("w.jsonl", json.dumps({**rows[0], "answer": "seven"}))
    with pytest.raises(ValueError, match=r"w\.jsonl, record 1: answer 'seven' is not the column or letter"):
        task("choice", data=wrong, test=wrong, validation=wrong).splits(0)


@pytest.mark.parametrize(
    ("text", "gold", "match", "right"),
    [
        ("So 5 + 3 = 8.", "8", "number", True),
        ("The answer is 8.0 apples", "8", "number", True),
        ("The answer is 7", "8", "number", False),
        (" Paris \n", "Paris", "exact", True),
        ("paris", "Paris", "exact", False),
        ("It is paris, I think", "Paris", "contains", True),
        ("The year was 1999", r"\b19\d\d\b", "regex", True),
        ("The year was 2001", r"\b19\d\d\b", "regex", False),
        (r"\boxed{\frac{1}{2}}", "0.5", "math", True),
        ("the cat sat", "the cat sat down", "rouge", True),
        ("a dog", "the cat sat down", "rouge", False),
    ],
)
def test_matching(text: str, gold: str, match: Any, right: bool) -> None:
    assert is_right(text, gold, match, rouge_threshold=0.5) is right


def test_answers_that_no_rule_can_match_are_refused(write: Write) -> None:
    file = write("m.csv", "question,answer\nhow many?,18\nwhich?,blue\n")
    params = {"data": file, "template": "{question}", "validation": file, "test": file}
    with pytest.raises(ValueError, match=r"record 2: the answer 'blue' is not a number \(match: number\)"):
        task("generation", **params, match="number").splits(0)
    assert [e.answer for e in task("generation", **params).splits(0).train] == ["18", "blue"]


def test_parameters_round_trip_as_plain_values(write: Write) -> None:
    found = lookup("tasks", "classification")
    params = {"data": "a.csv", "template": "{t}", "words": {"1": "bad"}}
    spelled = literal(configure(found.Config, params))
    assert spelled["words"] == {"1": "bad"}
    assert literal(configure(found.Config, json.loads(json.dumps(spelled)))) == spelled
