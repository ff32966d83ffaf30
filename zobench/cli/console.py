"""The console on which commands print tables."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from zobench.names import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_FILE_WIDTH = 160
"""Width in columns if the output is a file or a pipe and COLUMNS is not set."""


def console() -> Console:
    """A console as wide as the terminal, or ``_FILE_WIDTH`` columns wide for a file or a pipe."""
    from rich.console import Console

    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console()
    return Console(width=_FILE_WIDTH)


def text(value: object, style: str = "") -> Text:
    """Untrusted text for a table or a line, without markup and control characters."""
    from rich.text import Text

    return Text(printable(value), style=style)
