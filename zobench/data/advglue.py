"""AdvGLUE's development set (arXiv 2111.02840): 738 adversarial examples of six GLUE tasks in one file.

The data contain neither the attack (one of 14) that produced an example nor its original text, so only
accuracy can be reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zobench.data import hub
from zobench.data.example import Example
from zobench.data.files import check_cells, json_file
from zobench.data.locate import data_file

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "mnli-mm": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "rte": ("sentence1", "sentence2"),
}
"""Part -> its text columns."""
REPOSITORY = "AI-Secure/adv_glue"


def adversarial_rows(
    part: str, source: str, *, repository: str | None = None, revision: str | None = None
) -> list[Example]:
    """All examples of a part, in the file's order; ``ValueError`` if a record lacks a column."""
    if source == "local":
        path = data_file("advglue/dev.json", task="advglue")
        body = json_file(path)
        found = body.get(part) if isinstance(body, dict) else None
        if not isinstance(found, list):
            raise ValueError(f"{path}: no list {part!r}")
    else:
        subset = f"adv_{part.replace('-mm', '_mismatched')}"
        found = hub.rows(repository or REPOSITORY, subset=subset, split="validation", revision=revision)
    return [_example(part, number, row) for number, row in enumerate(found)]


def _example(part: str, number: int, row: Mapping[str, Any]) -> Example:
    try:
        text = {name: row[name] for name in COLUMNS[part]}
        example = Example(f"advglue/{part}/{number}", text, label=int(row["label"]))
    except KeyError as error:
        raise ValueError(f"advglue {part}: row {number} has no column {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"advglue {part}: row {number}: {error}") from error
    check_cells(example)
    return example
