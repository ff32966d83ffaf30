"""The diagram of mean ranks over tasks: rows on an axis, and a bar for each letter of the ranking.

The bars are the groups of the ranking's own tests (over seeds, corrected over all pairs), so that diagram and
table cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from zobench.report import svg
from zobench.report.ranking import Ranking

TOP, ROOM, STEP = 40, 22, 12
WIDE, MARGIN, LONGEST = 720, 210, 26
"""On a screen: width, margin on each side for names, and characters of a name."""
NARROW, LETTER, RANK, AXIS = 372, 7.2, 56, 96
"""On a phone: width, and least widths of a letter, of a mean rank and of the axis."""
FEWEST, MOST = 3, 30
"""Smallest and largest number of rows for which the diagram is readable."""


def diagram(ranks: Mapping[str, float], groups: Sequence[Sequence[str]] = ()) -> Markup:
    """Rows on an axis of their mean ranks. Each group of more than one row has a bar with a dot at each of
    its rows. Empty if there are too few or too many rows. The style sheet shows one of two drawings: for a
    screen, or with shorter names for a phone.
    """
    if not FEWEST <= len(ranks) <= MOST:
        return Markup("")
    return _drawn("cd", ranks, groups) + _drawn("cd-narrow", ranks, groups)


def _drawn(style: str, ranks: Mapping[str, float], groups: Sequence[Sequence[str]]) -> Markup:
    """On a screen names are on both sides. On a phone all are on the left, because a side needs its width."""
    k, wide = len(ranks), style == "cd"
    most = int((NARROW - AXIS - RANK) / LETTER)
    longest = LONGEST if wide else min(most, max(map(len, ranks)))
    width = WIDE if wide else NARROW
    margin = MARGIN if wide else round(longest * LETTER + RANK)
    x = svg.Scale(1, k, margin, width - (margin if wide else 12))
    bars = [(letter(i), [ranks[r] for r in group if r in ranks]) for i, group in enumerate(groups)]
    bars = [(name, at) for name, at in bars if len(at) > 1]
    first = TOP + 16 + STEP * len(bars)
    parts = _axis(k, x, 20 if wide else 6)
    for i, (name, at) in enumerate(bars):
        y = TOP + 12 + STEP * i
        parts.append(svg.line("cd-bar", x(min(at)), x(max(at)), y, y))
        parts += [svg.dot("cd-dot", x(rank), y, 3.4) for rank in at]
        parts.append(svg.text("cd-tick", x(min(at)) - 9, y + 4, name, "end"))
    half = (k + 1) // 2 if wide else k
    for i, (name, rank) in enumerate(ranks.items()):
        left = i < half
        y = first + ROOM * (i if left else k - 1 - i)
        said = Markup('{} <tspan class="cd-rank">{:.2f}</tspan>').format(svg.cut(name, longest), rank)
        parts += _name(said, x(rank), y, margin - 14 if left else width - margin + 14, left)
    told = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks.items())
    joined = "; ".join(f"{letter(i)}: {', '.join(g)}" for i, g in enumerate(groups) if len(g) > 1)
    label = f"Mean ranks: {told}. Equivalent or undecided: {joined or 'no two rows'}."
    return svg.drawing(style, label, width, first + ROOM * half + 12, parts)


def letter(group: int) -> str:
    """The letter that the table has for a group."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[group % 26]


def reason(ranking: Ranking) -> str:
    """Why there is no diagram; empty where there is one, or where nothing is ranked."""
    rows = len(ranking.ranked)
    if rows < FEWEST or ranking.mean_ranks:
        return ""
    return "With one task a mean rank over tasks is the rank above: there is no diagram of mean ranks."


def _name(said: Markup, x: float, y: float, end: float, left: bool) -> list[Markup]:
    """The row's name beside the axis, and the line from it to its mean rank."""
    return [
        svg.path("cd-line", [(x, TOP), (x, y), (end, y)]),
        svg.text("cd-name", end + (-6 if left else 6), y + 4, said, "end" if left else "start"),
    ]


def _axis(k: int, x: svg.Scale, most: int) -> list[Markup]:
    ticks = range(1, k + 1) if k <= most else [1, *range(5, k + 1, 5)]
    marks = [svg.line("cd-axis", x(r), x(r), TOP - 5, TOP) for r in ticks]
    names = [svg.text("cd-tick", x(r), TOP - 10, str(r), "middle") for r in ticks]
    return [svg.line("cd-axis", x(1), x(k), TOP, TOP), *marks, *names]
