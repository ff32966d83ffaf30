"""Math word problems as examples: GSM8K, MATH-500, GSM-Plus and GSM-IC, from local files or the hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zobench.data import hub
from zobench.data.example import Example
from zobench.data.files import check_cells, json_lines
from zobench.data.locate import data_file

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_META = ("level", "subject", "n_steps", "perturbation_type", "seed_question", "seed_answer", "sentence_label")


@dataclass(frozen=True, slots=True)
class MathSet:
    """Location of a set: local file and hub split per split; ``read`` turns a record into an example."""

    local: Mapping[str, str]
    repository: str
    subset: str | None
    read: Callable[[str, Mapping[str, Any]], Example]
    hub_splits: Mapping[str, str]


def _gsm8k(place: str, row: Mapping[str, Any]) -> Example:
    """The answer follows ``#### ``; calculator annotations ``<<...>>`` are removed from the solution."""
    solution, _, answer = row["answer"].rpartition("#### ")
    worked = f"{_CALCULATOR.sub('', solution)}#### {answer.strip()}"
    return Example(
        id=place,
        text={"question": row["question"]},
        answer=answer.strip().replace(",", ""),
        meta={"solution": worked},
    )


def _plain(place: str, row: Mapping[str, Any]) -> Example:
    question = row.get("new_question") or row.get("question") or row["problem"]
    solution = {"solution": row["solution"]} if row.get("solution") else {}
    meta = {name: row[name] for name in _META if name in row}
    return Example(
        id=place, text={"question": question}, answer=str(row["answer"]).strip(), meta={**meta, **solution}
    )


SETS: Mapping[str, MathSet] = {
    "gsm8k": MathSet(
        {"train": "gsm8k/train.jsonl", "test": "gsm8k/test.jsonl"},
        "openai/gsm8k",
        "main",
        _gsm8k,
        {"train": "train", "test": "test"},
    ),
    "math500": MathSet(
        {"test": "math500/test.jsonl"}, "HuggingFaceH4/MATH-500", None, _plain, {"test": "test"}
    ),
    "gsm-plus": MathSet(
        {"test": "gsm_plus/gsmplus_testmini.jsonl"}, "qintongli/GSM-Plus", None, _plain, {"test": "testmini"}
    ),
    "gsm-ic": MathSet(
        {"test": "gsm_ic/gsm8k_validation.jsonl"}, "voidful/GSM-IC", None, _plain, {"test": "test"}
    ),
}
"""The local GSM-IC file contains the 1,000 base problems; only the hub has them with irrelevant sentences."""


def problems(
    name: str, split: str, source: str, *, repository: str | None = None, revision: str | None = None
) -> list[Example]:
    """Examples of one split; empty if the set has no such split."""
    place = SETS[name]
    if split not in place.local:
        return []
    if source == "local":
        path = data_file(place.local[split], task=name)
        found = json_lines(path)
    else:
        found = iter(
            hub.rows(
                repository or place.repository,
                subset=place.subset,
                split=place.hub_splits[split],
                revision=revision,
            )
        )
    try:
        rows = [place.read(f"{name}/{split}/{number}", row) for number, row in enumerate(found)]
        for row in rows:
            check_cells(row)
        return rows
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{name}: a row of {source} has an empty or wrong cell: {error}") from error
    except KeyError as error:
        raise ValueError(f"{name}: rows of {source} have no column {error}") from error
