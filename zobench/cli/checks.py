"""``zobench check`` runs the checks of a plugin's kind."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zobench.cli.console import console, say, text
from zobench.names import nearest

if TYPE_CHECKING:
    from zobench.plugins import Kind


class CheckedKind(str, Enum):  # noqa: UP042 - mypy knows the values of this form as literals, not those of StrEnum
    """Kinds of names that can be checked."""

    methods = "methods"
    tasks = "tasks"
    attacks = "attacks"
    objectives = "objectives"
    probes = "probes"
    rewards = "rewards"
    sections = "sections"


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Optimizer, task, attack, ... or plugin.")],
    kind: Annotated[
        CheckedKind | None, typer.Option(help="What NAME is, if several kinds have a name NAME.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Parameter to check it with, in JSON or text; may be repeated."
        ),
    ] = None,
) -> None:
    """Run the property tests of an optimizer, task, attack, unlearning objective or probe, reward or report
    section; show which checks passed, failed or were skipped, and why."""
    from rich.table import Table

    from zobench.conformance import advice, failures
    from zobench.conformance import check as conform
    from zobench.plugins import lookup

    found = kind.value if kind is not None else kind_of(name)
    results = conform(found, lookup(found, name), parameters(param or []))
    table = Table("check", "outcome", "detail", box=None, pad_edge=False, header_style="bold")
    for result in results:
        outcome = "skipped" if result.skipped else "passed" if result.passed else "FAILED"
        style = "red" if outcome == "FAILED" else ""
        table.add_row(text(result.name), outcome, text(result.detail or result.reason), style=style)
    console().print(table)
    for note in names_noted(found, name):
        say(f"note: {note}", err=True)
    if failed := failures(results):
        for line in advice(found, results):
            say(line, err=True)
        say(f"{len(failed)} of {len(results)} checks failed", err=True)
        raise typer.Exit(1)


def names_noted(kind: Kind, name: str) -> list[str]:
    """Notes on a plugin that a suite knows by another name than its package or its card."""
    from zobench.plugins import entries, lookup, points

    known = entries(kind)
    notes = [
        f"{known[other].origin} has a plugin {name!r} too; that name is taken, so suites and 'check' know "
        f"it as {other!r}"
        for other, point in points(kind).items()
        if point.name == name != other
    ]
    if kind == "methods" and name in points(kind) and lookup(kind, name).card.name != points(kind)[name].name:
        card = lookup(kind, name).card.name
        notes.append(f"the card's name is {card!r}; suites know the method by its entry point, {name!r}")
    return notes


def kind_of(name: str) -> Kind:
    """The only kind that has this name.

    Raises:
        ValueError: no kind or several kinds have it.
    """
    from zobench.plugins import entries

    kinds: list[Kind] = [k.value for k in CheckedKind]
    known = {kind: entries(kind) for kind in kinds}
    having = [kind for kind, names in known.items() if name in names]
    if not having:
        every = [other for names in known.values() for other in names]
        raise ValueError(f"nothing is named {name!r}{nearest(name, every)}")
    if len(having) > 1:
        told = " and ".join(f"a {kind[:-1]}" for kind in having)
        raise ValueError(f"{name!r} is {told}: choose with --kind {having[0]} or --kind {having[1]}")
    return having[0]


def parameters(given: list[str]) -> dict[str, Any]:
    """Values of ``KEY=VALUE`` options: JSON, or else text; ``ValueError`` for what is not of this form."""
    found: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise ValueError(f"--param {one!r} is not of the form KEY=VALUE")
        try:
            found[key.strip()] = json.loads(value)
        except ValueError:
            found[key.strip()] = value
    return found
