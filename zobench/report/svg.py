"""Static charts: their basic shapes, and the interval plot of the tables (``whisker``).

These charts need no script, can be printed and have a text alternative. Colours come from CSS classes. Names
are escaped here. Line charts are in :mod:`zobench.report.lines`, the diagram of mean ranks is in
:mod:`zobench.report.rank_diagram`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from zobench.metrics.intervals import Interval


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear map of values in [low, high] to pixels in [start, end]; values outside are clipped."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + (self.end - self.start) * min(1.0, max(0.0, share)), 1)


def drawing(style: str, label: str, width: float, height: float, parts: Iterable[Markup]) -> Markup:
    """An ``<svg>`` with a text alternative; it scales to the width set by CSS."""
    return Markup('<svg class="{}" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        style, label, width, height, Markup("").join(parts)
    )


def line(style: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    """A straight line."""
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(style, x1, x2, y1, y2)


def path(style: str, points: Iterable[tuple[float, float]], dashes: str = "") -> Markup:
    """A line through points; ``dashes`` as in ``stroke-dasharray``."""
    dashed = Markup(' stroke-dasharray="{}"').format(dashes) if dashes else ""
    return Markup('<polyline class="{}" points="{}"{}/>').format(
        style, " ".join(f"{x},{y}" for x, y in points), dashed
    )


def dot(style: str, x: float, y: float, radius: float) -> Markup:
    """A filled circle."""
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(style, x, y, radius)


def text(style: str, x: float, y: float, content: str, anchor: str = "start") -> Markup:
    """Text at a point; ``anchor`` is start, middle or end. ``Markup`` may contain ``<tspan>``."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        style, x, y, anchor, content
    )


def apart(wanted: Sequence[float], room: float, bottom: float) -> list[float]:
    """Heights close to the ``wanted`` ones, at least ``room`` apart and not below ``bottom``."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    found = list(wanted)
    for before, i in pairwise(order):
        found[i] = max(found[i], found[before] + room)
    for i in reversed(order):
        found[i] = min(found[i], bottom)
        bottom = found[i] - room
    return found


def cut(name: str, length: int = 26) -> str:
    """A name shortened to fit."""
    return name if len(name) <= length else name[: length - 1] + "…"


def whisker(
    interval: Interval,
    low: float,
    high: float,
    label: str,
    width: int = 132,
    seeds: Sequence[float] = (),
) -> Markup:
    """A dot with its interval on a common scale from ``low`` to ``high``, and below it a small dot for each
    seed."""
    x = Scale(low, high, 6, width - 6)
    known = interval.low == interval.low
    bar = [line("whisker", x(interval.low), x(interval.high), 9, 9)] if known else []
    below = [dot("seed", x(value), 16, 1.7) for value in seeds]
    return drawing("spark", label, width, 18, [*bar, dot("dot", x(interval.value), 9, 3.6), *below])
