"""Tables and numbers of the Markdown pages that the studies write."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import pandas as pd

from zobench.metrics import verdicts
from zobench.metrics.intervals import Interval
from zobench.metrics.measures import GAP

NOTHING = "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; a ``|`` within a cell is escaped."""
    cells = [list(header), *map(list, rows)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def percent(value: float | None) -> str:
    return NOTHING if value is None or value != value else f"{100 * value:.1f}"


def points(d: Interval) -> str:
    """A difference of shares in points with its interval: ``+1.5 [-0.2, +3.2]``."""
    if d.value != d.value:
        return NOTHING
    d = d.cut(GAP)
    return f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def p_value(p: float, digits: int = 3) -> str:
    return NOTHING if p != p else f"{p:.{digits}g}"


def rule(family: str, margin: str) -> str:
    """The paragraph on verdicts, the same on every page."""
    return textwrap.fill(f"*Verdicts.* {verdicts.rule(family, margin)}", 108, break_on_hyphens=False)


def commits(runs: pd.DataFrame) -> str:
    """Abbreviated commits with which the runs were made."""
    return ", ".join(sorted({str(c)[:7] for c in runs["commit"].dropna()}))
