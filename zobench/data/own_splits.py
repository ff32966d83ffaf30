"""Training, validation and test parts of a user's own records: by files, by a column, or by random shares.

The parts are the same for every seed of a suite; a suite's seeds determine only directions and minibatches.
Records with equal texts or images are assigned to a part as a group, so that a text that occurs twice is in
one part only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zobench.data.example import Example, Splits
from zobench.data.records import Record, Records

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
NAMES: Mapping[str, Part] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""Allowed values of a split column, in any letter case."""


@dataclass(frozen=True, slots=True)
class PartRule:
    """Attributes:
    column: the column that names the part; ``None``: by files or shares.
    shares: shares of training, validation and test, if one file contains all.
    seed: seed of the order in which groups are assigned.
    """

    column: str | None
    shares: tuple[float, float, float]
    seed: int


Make = Callable[[Records, Record], Example | None]
"""Turns a record into an example; ``None`` if it is left out."""


def parted(
    main: Records, others: Mapping[Part, Records], rule: PartRule, make: Make, limit: int | None
) -> Splits:
    """The three parts as examples.

    Args:
        main: training records, or all of them.
        others: separate files for validation and test.
        make: turns a record into an example; its errors name the record.
        limit: maximum number of records per file.

    Raises:
        ValueError: an unknown value in the split column, or a part without records.
    """
    parts: dict[Part, list[Example]] = {name: [] for name in PARTS}
    for name, records in others.items():
        parts[name] = _examples(records, make, limit)
    rest = [p for p in PARTS if p not in others]
    if rule.column is not None:
        _by_column(main, rule.column, make, limit, parts)
    elif len(rest) == 1:
        parts["train"] = _examples(main, make, limit)
    else:
        _by_shares(_examples(main, make, limit), rest, rule, parts)
    for name in PARTS:
        if not parts[name] and name != "validation":
            raise ValueError(f"{main.source}: no records are left for {name}")
    return Splits(parts["train"], parts["validation"], parts["test"], demonstrations=parts["train"])


def shared_texts(splits: Splits) -> list[tuple[Example, Example]]:
    """Pairs (later, earlier) of examples with the same texts in different parts."""
    seen: dict[tuple[tuple[str, str], ...], Example] = {}
    found = []
    for part in (splits.train, splits.validation, splits.test):
        own: dict[tuple[tuple[str, str], ...], Example] = {}
        for example in part:
            key = _key(example)
            if key in seen:
                found.append((example, seen[key]))
            own.setdefault(key, example)
        seen = {**own, **seen}
    return found


def _examples(records: Records, make: Make, limit: int | None) -> list[Example]:
    made = (make(records, record) for record in records.rows[:limit])
    return [example for example in made if example is not None]


def _by_column(
    records: Records, column: str, make: Make, limit: int | None, parts: dict[Part, list[Example]]
) -> None:
    records.require(column, "split")
    for record in records.rows[:limit]:
        said = record.text(column)
        if said.lower() not in NAMES:
            raise ValueError(
                f"{records.at(record)}: column {column!r} says {said!r}; a part is one of "
                f"{', '.join(sorted(NAMES))}"
            )
        example = make(records, record)
        if example is not None:
            parts[NAMES[said.lower()]].append(example)


def _by_shares(
    examples: Sequence[Example], rest: Sequence[Part], rule: PartRule, parts: dict[Part, list[Example]]
) -> None:
    groups: dict[tuple[tuple[str, str], ...], list[Example]] = {}
    for example in examples:
        groups.setdefault(_key(example), []).append(example)
    order = list(groups.values())
    wanted = {name: rule.shares[PARTS.index(name)] for name in rest}
    total = sum(wanted.values())
    ends = np.cumsum([wanted[name] / total for name in rest]) * len(examples)
    dealt = 0
    for index in np.random.RandomState(rule.seed).permutation(len(order)):
        # A group belongs to the part that contains its middle, so that a large group leaves no part empty.
        middle = dealt + len(order[index]) / 2
        place = int(np.searchsorted(ends, middle, side="right"))
        parts[rest[min(place, len(rest) - 1)]] += order[index]
        dealt += len(order[index])


def _key(example: Example) -> tuple[tuple[str, str], ...]:
    """Equal for examples with the same texts, or the same image."""
    image = () if example.image is None else (("image", example.image.digest()),)
    return (*sorted(example.text.items()), *image)
