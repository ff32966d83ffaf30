"""Divides a few records of a user so that the suite written by ``zobench init`` can be planned.

With few records, the usual shares may leave a part empty or with a single class. Then another order of the
records is chosen, the first of ``ORDERS`` that gives training and test what they need, and the minibatch is
no larger than the training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zobench.data.example import Example, Splits
from zobench.data.own_splits import Make, PartRule, parted
from zobench.data.records import Record, Records, read_records
from zobench.tasks.own_data import SHARES
from zobench.tasks.own_look import Look

ORDERS = 200
BATCH = 8
_HALVES = (0.5, 0.0, 0.5)
"""Shares without validation, for two records."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The lines of the suite for the division, if it is not the usual one, and the size of a minibatch."""

    lines: tuple[str, ...]
    batch_size: int


def parts_of(data: Path, found: Look, label: str, *, classes: bool) -> Parts:
    """A division of the records that a suite can use.

    Args:
        label: column with the class or the answer.
        classes: the labels are classes, of which training and test must contain two.

    Raises:
        ValueError: there is none.
    """
    records = read_records(str(data))

    def make(records: Records, record: Record) -> Example:
        texts = {found.text: record.text(found.text)}
        said = record.text(label)
        return Example(
            str(record.number), texts, label=found.labels.index(said) if said in found.labels else -1
        )

    orders = range(ORDERS if found.split is None else 1)
    for shares in (SHARES, _HALVES):
        for seed in orders:
            splits = _divided(records, PartRule(found.split, shares, seed), make)
            if splits is not None and _enough(splits, classes):
                lines = (
                    [] if shares == SHARES else [f"shares: {list(shares)}  # no record is left to select by"]
                )
                lines += [f"split_seed: {seed}"] if seed else []
                return Parts(tuple(lines), min(BATCH, len(splits.train)))
    raise ValueError(_refusal(data, found, classes))


def _divided(records: Records, rule: PartRule, make: Make) -> Splits | None:
    try:
        return parted(records, {}, rule, make, None)
    except ValueError:  # a part without records
        return None


def _enough(splits: Splits, classes: bool) -> bool:
    return not classes or all(len({e.label for e in part}) > 1 for part in (splits.train, splits.test))


def _refusal(data: Path, found: Look, classes: bool) -> str:
    needs = "two classes each" if classes else "one record each"
    by = (
        f"no division of its {found.records} records gives them that"
        if found.split is None
        else f"column {found.split!r} does not give them that"
    )
    more = "add records of the rare classes" if classes else "add records"
    return f"{data}: training and test need {needs}, and {by}; {more}"
