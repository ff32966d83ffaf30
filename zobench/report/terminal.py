"""The table in the terminal that is printed at the end of a suite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zobench.metrics.intervals import Interval
from zobench.metrics.measures import SHARE
from zobench.names import printable
from zobench.report import notices, planned
from zobench.report.analysis import Analysis, analyse
from zobench.report.leaderboard import Leaderboard
from zobench.report.overview import headline
from zobench.report.tables import costs, labels, status_text
from zobench.terminal import SafeConsole

MOST_TASKS = 5
MOST_ROWS = 40
MOST_ATTACKS = 3
"""Largest number of attacks shown in the table of the ranking; more are printed in a separate table."""


def summary(
    folders: str | Path | Sequence[str | Path],
    *,
    leaderboard: str | Path | None = None,
    console: Console | None = None,
) -> None:
    """Print rank, accuracy per task with its interval, mean, accuracy under each attack (with
    its net loss), forwards, seconds and status of every row. Names are printed as text, never as markup.
    """
    show(analyse(folders, leaderboard), console)


def show(found: Analysis, console: Console | None = None) -> None:
    """Print the summary of results that were already analysed."""
    console = console or SafeConsole()
    console.print(table(found))
    if len(attack_columns(found)) > MOST_ATTACKS:
        console.print(attack_table(found))
    console.print(_text(headline(found.ranking)))
    told = (*notices.no_effect(found.source), *notices.unmeasured(found.source))
    for sentence in (*planned.sentences(found.source.others), *notices.spelled(told)):
        console.print(_text(sentence))


def table(found: Analysis) -> Table:
    """The rich table of an analysis: ranked rows, then baselines, then rows that are not comparable."""
    ranking, board = found.ranking, found.board
    names, attacks = labels(found.source), attack_columns(found)
    if len(attacks) > MOST_ATTACKS:
        attacks = {}
    out = Table(
        title=_text(board.title), box=None, pad_edge=False, header_style="bold", row_styles=["", "dim"][:1]
    )
    out.add_column("rank", justify="right")
    out.add_column("row", overflow="fold")
    lower = ", lower is better" if not board.higher else ""
    for heading in [*(names[b] for b in ranking.blocks[:MOST_TASKS]), f"mean{lower}"]:
        out.add_column(_text(heading), justify="right")
    for condition in attacks:
        out.add_column(_text(f"{condition} (net loss)"), justify="right")
    for heading in ("forwards", "seconds", "status"):
        out.add_column(heading, justify="right")
    for s in ranking.standings[:MOST_ROWS]:
        mine = found.runs[found.runs["row"] == s.row]
        spent = costs(mine)
        place = (
            ""
            if s.rank is None
            else f"{s.rank[0]}" + (f" ({s.rank[1]}–{s.rank[2]})" if s.rank[1] < s.rank[2] else "")
        )
        cells = [place or ("baseline" if s.group == "control" else "apart"), s.row]
        cells += [_value(s.blocks.get(b), board) for b in ranking.blocks[:MOST_TASKS]]
        cells.append(_value(s.interval, board))
        cells += [attacks[c].get(s.row, "–") for c in attacks]
        cells += [_number(spent["forwards"]), _number(spent["train_seconds"]), status_text(mine)]
        style = "" if s.ranked else "dim"
        out.add_row(*(_text(str(c)) for c in cells), style=style)
    return out


def attack_table(found: Analysis) -> Table:
    """Attacks as lines, rows of the ranking as columns."""
    rows = [s.row for s in found.ranking.standings[:MOST_ROWS]]
    out = Table(title=_text("attacked (net loss)"), box=None, pad_edge=False, header_style="bold")
    out.add_column("attack", overflow="fold")
    for row in rows:
        out.add_column(_text(row), justify="right")
    for condition, cells in attack_columns(found).items():
        out.add_row(_text(condition), *(_text(cells.get(row, "–")) for row in rows))
    return out


def attack_columns(found: Analysis) -> dict[str, dict[str, str]]:
    """By attack and row: robust accuracy in percent, and its net loss in points: accuracy under the
    budget-matched random baseline minus accuracy under the attack."""
    out: dict[str, dict[str, str]] = {}
    for a in found.attacks.to_dict("records"):
        if a["robust"] == a["robust"]:
            text = f"{100 * a['robust']:.1f}"
            if a["null"] == a["null"]:
                text += f" ({100 * (a['null'] - a['robust']):+.1f})".replace("-", "−")
            out.setdefault(str(a["condition"]), {})[str(a["row"])] = text
    return out


def _value(interval: Interval | None, board: Leaderboard) -> str:
    """``81.7 80–84``: the ends of intervals of shares are rounded outwards to whole points to save space."""
    if interval is None:
        return "–"
    spread = board.spread(interval)
    if interval.bounds == SHARE and board.scale == "percent" and interval.low < interval.high:
        spread = f"{math.floor(100 * interval.low)}–{math.ceil(100 * interval.high)}"
    return f"{board.show(interval.value)} {spread}".rstrip()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _text(value: str) -> Text:
    """Text from data: neither markup nor control characters."""
    return Text(printable(value))
