"""``zobench check`` and ``zobench model build``: the conformance kit, and the built-in models trained
again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(name: Annotated[str, typer.Argument(metavar="NAME", help="Method or plugin.")]) -> None:
    """Run the conformance kit on an optimizer and show what holds, fails or was skipped, with reasons."""
    from rich.table import Table

    from zobench.cli.console import console, text
    from zobench.plugins import lookup
    from zobench.zo.conformance import check as conform
    from zobench.zo.conformance import failures

    results = conform(lookup("methods", name))
    table = Table("check", "outcome", "detail", box=None, pad_edge=False, header_style="bold")
    for result in results:
        outcome = "skipped" if result.skipped else "passed" if result.passed else "FAILED"
        style = "red" if outcome == "FAILED" else ""
        table.add_row(text(result.name), outcome, text(result.detail or result.reason), style=style)
    console().print(table)
    if failed := failures(results):
        typer.echo(f"{len(failed)} of {len(results)} checks failed", err=True)
        raise typer.Exit(1)


def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of zobench list models.")],
    output: Annotated[Path | None, typer.Option(help="Folder to write; default: ./NAME.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial weights and the data order.")] = 0,
) -> None:
    """Train a built-in model again from nothing, by the recipe in the repository, and check it at its
    gates."""
    from zobench.models.nano.build import build as train
    from zobench.models.nano.gates import accept
    from zobench.names import nearest
    from zobench.plugins import builtin_models

    if name not in builtin_models():
        raise ValueError(f"unknown built-in model {name!r}{nearest(name, builtin_models())}")
    folder = output or Path(name)
    train(name, folder, seed=seed)
    typer.echo(f"wrote {folder}; measuring its gates")
    if not accept(
        name, folder, report=lambda gate: typer.echo(f"{gate.name} {gate.value:.4f} passed: {gate.passed}")
    ):
        raise typer.Exit(1)
