"""``zobench check`` runs the conformance kit."""

from __future__ import annotations

from typing import Annotated

import typer

from zobench.cli.console import console, say, text


def check(name: Annotated[str, typer.Argument(metavar="NAME", help="Method or plugin.")]) -> None:
    """Run the conformance kit on an optimizer; show which checks passed, failed or were skipped, and why."""
    from rich.table import Table

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
        say(f"{len(failed)} of {len(results)} checks failed", err=True)
        raise typer.Exit(1)
