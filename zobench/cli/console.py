"""The console that commands print tables on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from zobench.names import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_FILE_WIDTH = 160
"""Columns when the output is a file or a pipe and COLUMNS says nothing."""


def console() -> Console:
    """As wide as the terminal; wide enough for whole tables elsewhere."""
    from rich.console import Console

    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console()
    return Console(width=_FILE_WIDTH)


def text(value: object, style: str = "") -> Text:
    """Text from data for a table or a line: neither markup nor control characters."""
    from rich.text import Text

    return Text(printable(value), style=style)
