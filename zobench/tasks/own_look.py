"""Inspects a user's data file for the suite that ``zobench init --data`` writes."""

from __future__ import annotations

from dataclasses import dataclass

from zobench.data.own_splits import NAMES
from zobench.data.records import Records, distinct, read_records
from zobench.tasks.matching import gold_problem


@dataclass(frozen=True, slots=True)
class Look:
    """Properties of a data file: its number of records, its labels, the columns with the text and with the
    part, whether all labels are numbers, whether the texts are the paths of PNG files, and the numbers of the
    records without a label."""

    records: int
    labels: tuple[str, ...]
    text: str
    split: str | None
    numbers: bool
    images: bool = False
    unlabelled: tuple[int, ...] = ()


def look_at(data: str, *, label: str, text: str | None) -> Look:
    """Find the text column (the one with the longest texts unless ``text`` names it) and the column that
    assigns records to parts, if there is one.

    Raises:
        ValueError: no such column, or no column besides the label.
    """
    records = read_records(data)
    for column, key in ((label, "label"), *(((text, "text"),) if text is not None else ())):
        records.require(column, key)
    labels = tuple(sorted(set(distinct(records, label))))
    parts = [c for c in records.columns if c != label and _names_parts(records, c)]
    lengths = {
        c: sum(len(record.text(c)) for record in records.rows)
        for c in records.columns
        if c != label and c not in parts
    }
    if not lengths:
        raise ValueError(f"{data}: has no column besides the label {label!r} that could hold the text")
    longest = text or max(lengths, key=lambda c: lengths[c])
    numbers = all(gold_problem(value, "number") is None for value in labels)
    images = all(record.text(longest).lower().endswith(".png") for record in records.rows)
    empty = tuple(record.number for record in records.rows if not record.text(label))
    return Look(len(records.rows), labels, longest, parts[0] if parts else None, numbers, images, empty)


def _names_parts(records: Records, column: str) -> bool:
    found = {value.lower() for value in distinct(records, column)}
    return len(found) > 1 and found <= set(NAMES)
