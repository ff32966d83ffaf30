"""Few-shot classification and multiple-choice sets by name, from local files or from the hub.

Hub names and columns are as published by their owners; ``hub:`` in a task's parameters overrides the
repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zobench.data import hub
from zobench.data.example import Example
from zobench.data.files import check_cells
from zobench.data.sentences import LOCAL, Pools
from zobench.data.superglue import FEWGLUE_FOLDERS, examples, fewglue


@dataclass(frozen=True, slots=True)
class HubSet:
    """Location of a set on the hub: splits for training and testing, and the columns of text and label."""

    repository: str
    subset: str | None = None
    train: str = "train"
    held_out: str = "validation"
    text: str = "sentence"
    label: str = "label"


HUB: Mapping[str, HubSet] = {
    "sst2": HubSet("nyu-mll/glue", "sst2"),
    "sst5": HubSet("SetFit/sst5", held_out="test", text="text"),
    "trec": HubSet("CogComp/trec", held_out="test", text="text", label="coarse_label"),
    "mr": HubSet("cornell-movie-review-data/rotten_tomatoes", held_out="test", text="text"),
    "rte": HubSet("aps/super_glue", "rte"),
    "cb": HubSet("aps/super_glue", "cb"),
    "boolq": HubSet("aps/super_glue", "boolq"),
    "wsc": HubSet("aps/super_glue", "wsc.fixed"),
    "wic": HubSet("aps/super_glue", "wic"),
    "multirc": HubSet("aps/super_glue", "multirc"),
    "copa": HubSet("aps/super_glue", "copa"),
    "record": HubSet("aps/super_glue", "record"),
}

HUB_CLASS_ORDER: Mapping[str, tuple[int, ...]] = {"trec": (2, 1, 0, 3, 4, 5)}
"""Hub label -> class of the local file, if they differ. TREC's coarse labels on the hub are ABBR, ENTY, DESC,
HUM, LOC, NUM; the local file has DESC, ENTY, ABBR, HUM, LOC, NUM."""


def pools(task: str, source: str, *, repository: str | None = None, revision: str | None = None) -> Pools:
    """Examples of a set from ``local`` files or the ``hub``; ``ValueError`` if the source lacks it."""
    if source == "local":
        return LOCAL[task]() if task in LOCAL else fewglue(task)
    if task not in HUB:
        raise ValueError(f"task {task!r} is not on the hub under a known name: use source: local")
    place = HUB[task]
    name = repository or place.repository
    return Pools(
        _from_hub(task, place, name, place.train, revision),
        _from_hub(task, place, name, place.held_out, revision),
    )


def _from_hub(task: str, place: HubSet, repository: str, split: str, revision: str | None) -> list[Example]:
    found = hub.rows(repository, subset=place.subset, split=split, revision=revision)
    if task in FEWGLUE_FOLDERS:
        return [e for i, row in enumerate(found) for e in examples(task, f"{split}/{i}", row)]
    order = HUB_CLASS_ORDER.get(task)
    try:
        rows = [
            Example(
                id=f"{task}/{split}/{i}",
                text={"sentence": row[place.text]},
                label=order[row[place.label]] if order else row[place.label],
            )
            for i, row in enumerate(found)
        ]
    except (KeyError, IndexError, TypeError) as error:
        missing = next((c for c in (place.text, place.label) for row in found if row.get(c) is None), None)
        told = f"rows have no column {error}" if missing is None else f"a row has no {missing!r}"
        raise ValueError(f"data set {repository!r}: {told}") from error
    for example in rows:
        check_cells(example)
    return rows
