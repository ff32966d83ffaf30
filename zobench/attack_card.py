"""What an attack says of itself to whoever shows its results, and how runs carry it.

An attack class declares an :class:`AttackCard`; the runner writes the cards of a suite's attacks into each
run (column ``attack_cards`` of the runs table), and the report reads them there. So no room between them
knows an attack by name, and an attack from a package gets its metrics onto the page like a built-in one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

Form = Literal["percent", "number", "count"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an attack's table: which metric, its heading, how it is written and taken over runs."""

    metric: str
    """Name of the metric; where the table has a ``key``, what stands before the colon of its metrics."""
    label: str
    form: Form = "percent"
    over_runs: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True, slots=True)
class Table:
    """An additional table for one attack, in the page's robustness section.

    Attributes:
        name: told from other tables by it: letters, digits and hyphens.
        title, text: heading, and what the numbers are.
        key: heading of a column with the part behind the colon where metrics are named ``METRIC:KEY``: one
            line for each. Empty: one line without.
        lines: what a line is about besides its task; what is left out is aggregated over.
    """

    name: str
    title: str
    text: str
    columns: tuple[Column, ...]
    key: str = ""
    lines: tuple[Literal["attack", "row"], ...] = ("attack", "row")


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two settings of one parameter to be compared example by example, all other parameters equal.

    Attributes:
        parameter, first, second: the attack's parameter and its two values; the difference shown is accuracy
            under ``first`` minus accuracy under ``second``.
        first_label, second_label: headings of the two accuracies.
    """

    name: str
    title: str
    text: str
    parameter: str
    first: str
    second: str
    first_label: str
    second_label: str


@dataclass(frozen=True, slots=True)
class AttackCard:
    """What of an attack matters where its results are shown; the defaults suit an attack on words.

    Attributes:
        position: what the ``position`` of its edits counts. Words are shown by tenths of the text, anything
            else by number.
        keeps_answer: whether the gold answer is still the right one afterwards; else the attack is kept out
            of what is called robust accuracy.
        titled_by: parameters whose values stand in the titles of its drawings.
        tables, contrasts: its own on the page.
    """

    position: str = "word"
    keeps_answer: bool = True
    titled_by: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    contrasts: tuple[Contrast, ...] = ()


PLAIN = AttackCard()
_CARD = TypeAdapter(AttackCard)
_CARDS = TypeAdapter(dict[str, AttackCard])


def to_json(cards: Mapping[str, AttackCard]) -> str:
    """Cards by condition as one JSON text; what a card leaves at its default is left out."""
    told = {name: _changed(card) for name, card in cards.items()}
    return json.dumps(told, sort_keys=True)


def _changed(card: AttackCard) -> dict[str, Any]:
    body = _CARD.dump_python(card, mode="json")
    plain = _CARD.dump_python(PLAIN, mode="json")
    return {f.name: body[f.name] for f in fields(card) if body[f.name] != plain[f.name]}


@functools.lru_cache(maxsize=1024)
def from_json(text: str) -> Mapping[str, AttackCard]:
    """Cards by condition; none where the text is not one that :func:`to_json` writes."""
    try:
        return _CARDS.validate_json(text)
    except ValidationError:
        return {}


@functools.cache
def earlier() -> Mapping[str, AttackCard]:
    """By catalogue name, the cards of runs from before runs carried them. Closed: no attack is added."""
    return _CARDS.validate_json((Path(__file__).parent / "attack_cards_earlier.json").read_bytes())
