"""The way to the terminal: nothing that is printed contains escape or control characters from data.

Names of runs, tasks and files, and messages about them, may come from somebody else's results, and a terminal
would obey such characters. Commands print text with ``zobench.cli.console.say`` and tables on a
:class:`SafeConsole`; both use :func:`zobench.names.printable`. Rich adds its colours afterwards.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from zobench.names import printable


class SafeConsole(Console):
    """A console that replaces control characters in everything that it draws, tables and titles included."""

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            # Segments with control codes are rich's own, such as moves of the cursor.
            yield Segment(text if control else printable(text, lines=True), style, control)


def guard_warnings() -> None:
    """Let Python's warnings, which quote data, be printed without control characters in this process."""
    written = warnings.formatwarning

    def formatted(*args: Any, **options: Any) -> str:
        return printable(written(*args, **options), lines=True)

    warnings.formatwarning = formatted


def print_traceback() -> None:
    """Print the traceback of the exception that is being handled."""
    sys.stderr.write(printable(traceback.format_exc(), lines=True))
