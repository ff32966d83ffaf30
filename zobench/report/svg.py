"""Small drawings made at build time: interval whiskers of the ranking table and the critical-difference
diagram.

They need no script, print well and carry a text alternative. Colours come from CSS classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from zobench.metrics.intervals import Interval
from zobench.metrics.ranking import CriticalDifference


def whisker(interval: Interval, low: float, high: float, text: str, width: int = 132) -> Markup:
    """A dot with its interval on a common scale from ``low`` to ``high``."""
    span = (high - low) or 1.0

    def x(value: float) -> float:
        return round(6 + (width - 12) * min(1.0, max(0.0, (value - low) / span)), 1)

    line = Markup("")
    if interval.low == interval.low:
        line = Markup('<line class="whisker" x1="{}" x2="{}" y1="9" y2="9"/>').format(
            x(interval.low), x(interval.high)
        )
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" width="{}" height="18" viewBox="0 0 {} 18">{}'
        '<circle class="dot" cx="{}" cy="9" r="3.6"/></svg>'
    ).format(text, width, width, line, x(interval.value))


def critical_difference(found: CriticalDifference, width: int = 720) -> Markup:
    """Rows on an axis of mean ranks; a bar joins rows closer than the critical difference."""
    names = list(found.mean_ranks)
    k, margin, top = len(names), 210, 56
    inner = width - 2 * margin
    half = (k + 1) // 2
    bars = _bars(list(found.mean_ranks.values()), found.difference)
    first = top + 16 + 9 * len(bars)
    height = first + 22 * half + 12

    def x(rank: float) -> float:
        return round(margin + inner * (rank - 1) / max(1, k - 1), 1)

    parts = [_axis(k, x, top), _ruler(found.difference, x, k)]
    for i, (a, b) in enumerate(bars):
        y = top + 12 + 9 * i
        parts.append(
            Markup('<line class="cd-bar" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x(a) - 4, x(b) + 4, y, y)
        )
    for i, name in enumerate(names):
        left = i < half
        y = first + 22 * (i if left else k - 1 - i)
        end = margin - 14 if left else width - margin + 14
        rank = found.mean_ranks[name]
        parts.append(
            Markup(
                '<polyline class="cd-line" points="{0},{1} {0},{2} {3},{2}"/>'
                '<text class="cd-name" x="{4}" y="{5}" text-anchor="{6}">{7} '
                '<tspan class="cd-rank">{8:.2f}</tspan></text>'
            ).format(
                x(rank),
                top,
                y,
                end,
                end + (-6 if left else 6),
                y + 4,
                "end" if left else "start",
                cut(name),
                rank,
            )
        )
    label = "Mean ranks: " + ", ".join(f"{n} {r:.2f}" for n, r in found.mean_ranks.items())
    return Markup('<svg class="cd" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        f"{label}. Critical difference {found.difference:.2f}.", width, height, Markup("").join(parts)
    )


def _axis(k: int, x: object, top: int) -> Markup:
    assert callable(x)
    ticks = [Markup('<line class="cd-axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x(1), x(k), top, top)]
    step = 1 if k <= 20 else 5
    for r in [1, *range(step, k + 1, step)] if step > 1 else range(1, k + 1):
        ticks.append(
            Markup(
                '<line class="cd-axis" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                '<text class="cd-tick" x="{0}" y="{3}" '
                'text-anchor="middle">{4}</text>'
            ).format(x(r), top - 5, top, top - 10, r)
        )
    return Markup("").join(ticks)


def _ruler(difference: float, x: object, k: int) -> Markup:
    """The length of the critical difference, drawn above the axis (clipped to its ends)."""
    assert callable(x)
    end = min(float(k), 1 + difference)
    return Markup(
        '<line class="cd-bar" x1="{}" x2="{}" y1="14" y2="14"/>'
        '<text class="cd-tick" x="{}" y="18">CD = {:.2f}</text>'
    ).format(x(1), x(end), x(end) + 8, difference)


def _bars(ranks: Sequence[float], difference: float) -> list[tuple[float, float]]:
    """Maximal runs of sorted mean ranks that span less than the critical difference."""
    bars: list[tuple[int, int]] = []
    for i, start in enumerate(ranks):
        j = max(m for m, r in enumerate(ranks) if r - start < difference and m >= i)
        if j > i and not (bars and bars[-1][1] >= j):
            bars.append((i, j))
    return [(ranks[i], ranks[j]) for i, j in bars]


def cut(name: str, length: int = 26) -> str:
    """A name shortened to fit."""
    return name if len(name) <= length else name[: length - 1] + "…"
