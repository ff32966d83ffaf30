"""Attack cards: how the results of an attack are displayed, declared by the attack and stored with each run.

An attack class declares an :class:`AttackCard`. The runner writes the cards of a suite's attacks into each
run (column ``attack_cards`` of the runs table), and the report reads them from there. The runner, the store
and the report therefore treat attacks from plugins exactly like built-in ones.
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
    """A column of an attack's table: metric, heading, number format and aggregation over runs."""

    metric: str
    """Name of the metric. If the table has a ``key``: the part of the metric's name before the colon."""
    label: str
    form: Form = "percent"
    over_runs: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True, slots=True)
class Table:
    """An additional table for one attack, in the page's robustness section.

    Attributes:
        name: identifies the table; letters, digits and hyphens.
        title, text: heading, and an explanation of the numbers.
        key: for metrics named ``METRIC:KEY``: heading of the column that shows KEY, with one line for each
            key. Empty: metrics have no key.
        lines: what distinguishes the lines besides the task; the table aggregates over the others.
    """

    name: str
    title: str
    text: str
    columns: tuple[Column, ...]
    key: str = ""
    lines: tuple[Literal["attack", "row"], ...] = ("attack", "row")


@dataclass(frozen=True, slots=True)
class Contrast:
    """Paired comparison of two values of one parameter, example by example, all other parameters equal.

    Attributes:
        parameter, first, second: the attack's parameter and its two values. The difference shown is the
            accuracy under ``first`` minus the accuracy under ``second``.
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
    """How the results of an attack are displayed. The defaults suit an attack on words.

    Attributes:
        position: unit of the ``position`` of its edits. Positions of words are shown by tenths of the text,
            those of any other unit by number.
        keeps_answer: whether the gold answer remains correct after the edit. If False, the attack is left out
            of robust accuracy.
        titled_by: parameters whose values are shown in the titles of its charts.
        tables, contrasts: additional tables and comparisons on the page.
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
    """Cards by condition as one JSON text; fields with their default value are omitted."""
    told = {name: _changed(card) for name, card in cards.items()}
    return json.dumps(told, sort_keys=True)


def _changed(card: AttackCard) -> dict[str, Any]:
    body = _CARD.dump_python(card, mode="json")
    plain = _CARD.dump_python(PLAIN, mode="json")
    return {f.name: body[f.name] for f in fields(card) if body[f.name] != plain[f.name]}


@functools.lru_cache(maxsize=1024)
def from_json(text: str) -> Mapping[str, AttackCard]:
    """Cards by condition; empty if the text is not valid output of :func:`to_json`."""
    try:
        return _CARDS.validate_json(text)
    except ValidationError:
        return {}


@functools.cache
def earlier() -> Mapping[str, AttackCard]:
    """Cards for runs stored before runs carried cards, by catalogue name. The list is closed: later attacks
    declare their own card."""
    return _CARDS.validate_json((Path(__file__).parent / "attack_cards_earlier.json").read_bytes())
