"""How commands print: lines with :func:`say`, tables on :func:`console`.

No other module of this package prints: control characters of names and messages are replaced here.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from zobench.names import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_FILE_WIDTH = 160
"""Width in columns if the output is a file or a pipe and COLUMNS is not set."""


def say(message: object, *, lines: bool = False, err: bool = False, exact_in_pipes: bool = False) -> None:
    """Print text without control characters.

    Args:
        lines: the message has several lines; otherwise line ends are replaced as well.
        err: to standard error.
        exact_in_pipes: print the message as it is if standard output is not a terminal.
    """
    if exact_in_pipes and not sys.stdout.isatty():
        sys.stdout.write(f"{message}\n")  # typer.echo would remove what looks like an escape sequence
    else:
        typer.echo(printable(message, lines=lines), err=err)


def console() -> Console:
    """A console as wide as the terminal, or ``_FILE_WIDTH`` columns wide for a file or a pipe."""
    from zobench.terminal import SafeConsole

    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return SafeConsole()
    return SafeConsole(width=_FILE_WIDTH)


def text(value: object, style: str = "") -> Text:
    """Untrusted text for a table or a line, without markup and control characters."""
    from rich.text import Text

    return Text(printable(value), style=style)
