"""SuperGLUE records as examples, from the nested form of FewGLUE's files or the flat form of the hub.

FewGLUE (arXiv 2009.07118) has 32 labelled training records per set and no labelled test records. Every WSC
record is positive; one MultiRC record has several questions with several answers each, one ReCoRD record
several queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zobench.data.example import Example
from zobench.data.files import check_cells, json_lines
from zobench.data.locate import data_file
from zobench.data.sentences import Pools

FEWGLUE_FOLDERS = {
    "rte": "RTE",
    "cb": "CB",
    "boolq": "BoolQ",
    "wsc": "WSC",
    "wic": "WiC",
    "multirc": "MultiRC",
    "copa": "COPA",
    "record": "ReCoRD",
}

_CLASSES: Mapping[str, tuple[str, ...]] = {
    "rte": ("entailment", "not_entailment"),
    "cb": ("entailment", "contradiction", "neutral"),
}


def fewglue(task: str) -> Pools:
    """The 32 local training records of a FewGLUE set, without test examples."""
    path = data_file(f"fewglue/{FEWGLUE_FOLDERS[task]}/train.jsonl", task=task)
    rows = [
        e for number, row in enumerate(json_lines(path)) for e in examples(task, f"fewglue/{number}", row)
    ]
    return Pools(rows, [])


def examples(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    """The labelled examples of one record; ``place`` identifies the record and becomes part of the ids."""
    try:
        for found in _READERS[task](task, f"{task}/{place}", row):
            check_cells(found)
            yield found
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{task}: row {place} does not have the expected form: {error!r}") from error


def _label(task: str, value: Any) -> int:
    if isinstance(value, str):
        return _CLASSES[task].index(value)
    return int(value)


def _pair(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    text = {"premise": row["premise"], "hypothesis": row["hypothesis"]}
    yield Example(id=place, text=text, label=_label(task, row["label"]))


def _boolq(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    text = {"passage": row["passage"], "question": row["question"]}
    yield Example(id=place, text=text, label=_label(task, row["label"]))


def _wsc(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    spans = row.get("target", row)
    text = {"text": row["text"], "span1": spans["span1_text"], "span2": spans["span2_text"]}
    yield Example(id=place, text=text, label=_label(task, row["label"]))


def _wic(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    text = {k: row[k] for k in ("sentence1", "sentence2", "word")}
    yield Example(id=place, text=text, label=_label(task, row["label"]))


def _multirc(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    if "paragraph" in row:
        text = {k: row[k] for k in ("paragraph", "question")}
        text["answer_text"] = row["answer"]
        yield Example(id=place, text=text, label=_label(task, row["label"]))
        return
    for q in row["passage"]["questions"]:
        for a in q["answers"]:
            text = {"paragraph": row["passage"]["text"], "question": q["question"]}
            text["answer_text"] = a["text"]
            yield Example(id=f"{place}/{q['idx']}/{a['idx']}", text=text, label=int(a["label"]))


def _copa(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    yield Example(
        id=place,
        text={"premise": row["premise"]},
        label=_label(task, row["label"]),
        candidates=(row["choice1"], row["choice2"]),
        meta={"question": row["question"]},
    )


def _record(task: str, place: str, row: Mapping[str, Any]) -> Iterator[Example]:
    if "query" in row:
        yield from _record_query(place, row["passage"], row["query"], row["entities"], row["answers"])
        return
    text = row["passage"]["text"]
    entities = [text[e["start"] : e["end"] + 1] for e in row["passage"]["entities"]]
    for q in row["qas"]:
        answers = [a["text"] for a in q["answers"]]
        yield from _record_query(f"{place}/{q['idx']}", text, q["query"], entities, answers)


def _record_query(
    place: str, passage: str, query: str, entities: list[str], answers: list[str]
) -> Iterator[Example]:
    """One query; all candidates among the answers are right (``meta["right"]``), and the first one is the
    label."""
    candidates = tuple(dict.fromkeys(entities))
    right = tuple(i for i, c in enumerate(candidates) if c in answers)
    if right:
        yield Example(
            id=place,
            text={"passage": passage, "query": query},
            label=right[0],
            candidates=candidates,
            meta={"right": right},
        )


_READERS: Mapping[str, Callable[[str, str, Mapping[str, Any]], Iterator[Example]]] = {
    "rte": _pair,
    "cb": _pair,
    "boolq": _boolq,
    "wsc": _wsc,
    "wic": _wic,
    "multirc": _multirc,
    "copa": _copa,
    "record": _record,
}
