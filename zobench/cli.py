"""Command line. Each command reads its arguments and calls one function; nothing heavy is imported at the top."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, add_completion=True)


def main() -> None:
    """Console script."""
    app()
