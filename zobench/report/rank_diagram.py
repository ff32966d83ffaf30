"""The critical-difference diagram: mean ranks on an axis, and bars that join rows not told apart."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from zobench.metrics.ranking import CriticalDifference
from zobench.report import svg

WIDTH, MARGIN, TOP, ROOM = 720, 210, 56, 22
FEWEST, MOST = 3, 30
"""Numbers of rows between which the diagram can be read."""


def diagram(found: CriticalDifference | None) -> Markup:
    """Rows on an axis of mean ranks; a bar joins rows closer than the critical difference.

    Empty where there are too few or too many rows.
    """
    if found is None or not FEWEST <= len(found.mean_ranks) <= MOST:
        return Markup("")
    k = len(found.mean_ranks)
    x = svg.Scale(1, k, MARGIN, WIDTH - MARGIN)
    bars = _bars(list(found.mean_ranks.values()), found.difference)
    first = TOP + 16 + 9 * len(bars)
    parts = [*_axis(k, x), *_ruler(found.difference, x)]
    for i, (a, b) in enumerate(bars):
        parts.append(svg.line("cd-bar", x(a) - 4, x(b) + 4, TOP + 12 + 9 * i, TOP + 12 + 9 * i))
    half = (k + 1) // 2
    for i, (name, rank) in enumerate(found.mean_ranks.items()):
        left = i < half
        y = first + ROOM * (i if left else k - 1 - i)
        said = Markup('{} <tspan class="cd-rank">{:.2f}</tspan>').format(svg.cut(name), rank)
        parts += _name(said, x(rank), y, left)
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in found.mean_ranks.items())
    label = f"Mean ranks: {ranks}. Critical difference {found.difference:.2f}."
    return svg.drawing("cd", label, WIDTH, first + ROOM * half + 12, parts)


def _name(said: Markup, x: float, y: float, left: bool) -> list[Markup]:
    """The row's name beside the axis, and the line from it to its mean rank."""
    end = MARGIN - 14 if left else WIDTH - MARGIN + 14
    return [
        svg.path("cd-line", [(x, TOP), (x, y), (end, y)]),
        svg.text("cd-name", end + (-6 if left else 6), y + 4, said, "end" if left else "start"),
    ]


def _axis(k: int, x: svg.Scale) -> list[Markup]:
    ticks = range(1, k + 1) if k <= 20 else [1, *range(5, k + 1, 5)]
    marks = [svg.line("cd-axis", x(r), x(r), TOP - 5, TOP) for r in ticks]
    names = [svg.text("cd-tick", x(r), TOP - 10, str(r), "middle") for r in ticks]
    return [svg.line("cd-axis", x(1), x(k), TOP, TOP), *marks, *names]


def _ruler(difference: float, x: svg.Scale) -> list[Markup]:
    """The length of the critical difference, drawn above the axis and clipped to its ends."""
    end = x(1 + difference)
    label = svg.text("cd-tick", end + 8, 18, f"CD = {difference:.2f}")
    return [svg.line("cd-bar", x(1), end, 14, 14), label]


def _bars(ranks: Sequence[float], difference: float) -> list[tuple[float, float]]:
    """Maximal runs of sorted mean ranks that span less than the critical difference."""
    bars: list[tuple[int, int]] = []
    for i, start in enumerate(ranks):
        j = max(m for m, r in enumerate(ranks) if r - start < difference and m >= i)
        if j > i and not (bars and bars[-1][1] >= j):
            bars.append((i, j))
    return [(ranks[i], ranks[j]) for i, j in bars]
