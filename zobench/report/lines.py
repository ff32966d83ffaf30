"""A small line chart of accuracies with intervals, drawn at build time: no script, a text alternative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from zobench.report.svg import cut

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 380, 190, 34, 24, 10, 96
NAME_ROOM, TICK_ROOM = 11, 24
COLOURS = 6
"""Series colours that the style sheet defines; further lines start again, dashed."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its place (which decides the colour) and (x, accuracy, half width of the interval or nan)."""

    name: str
    place: int
    points: tuple[tuple[float, float, float], ...]


def chart(lines: Sequence[Line], title: str) -> Markup:
    """Accuracy in percent against x, from 0 to 100, common to all drawings."""
    xs = sorted({x for line in lines for x, _, _ in line.points})
    low, high = (xs[0], xs[-1]) if xs else (0.0, 1.0)
    span = (high - low) or 1.0

    def place(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (x - low) / span, 1)

    drawn = [_grid(), _ticks(xs, place)]
    names = _name_places([_y(line.points[-1][1]) for line in lines])
    drawn += [_drawn(line, place, at) for line, at in zip(lines, names, strict=True)]
    said = "; ".join(
        f"{s.name}: " + ", ".join(f"{100 * y:.1f} at {x:g}" for x, y, _ in s.points) for s in lines
    )
    return Markup('<svg class="lines" role="img" aria-label="{}. {}" viewBox="0 0 {} {}">{}</svg>').format(
        title, said, WIDTH, HEIGHT, Markup("").join(drawn)
    )


def _y(value: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.0, max(0.0, value))), 1)


def _grid() -> Markup:
    parts = [
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
            '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>'
        ).format(LEFT, WIDTH - RIGHT, _y(v), _y(v), LEFT - 5, _y(v) + 4, round(100 * v))
        for v in (0.0, 0.5, 1.0)
    ]
    return Markup("").join(parts)


def _ticks(xs: Sequence[float], place: object) -> Markup:
    assert callable(place)
    few = xs if len(xs) <= 6 else [xs[0], xs[len(xs) // 2], xs[-1]]
    apart = [x for x, after in pairwise(few) if place(after) - place(x) >= TICK_ROOM]
    shown = [*apart, *few[-1:]]
    text = Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{:g}</text>')
    return Markup("").join(text.format(place(x), HEIGHT - 7, x) for x in shown)


def _name_places(wanted: Sequence[float]) -> list[float]:
    """Heights of the names beside the ends of their lines: apart from each other, above the axis' numbers."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    found = list(wanted)
    for before, i in pairwise(order):
        found[i] = max(found[i], found[before] + NAME_ROOM)
    bottom: float = HEIGHT - BOTTOM
    for i in reversed(order):
        found[i] = min(found[i], bottom)
        bottom = found[i] - NAME_ROOM
    return found


def _drawn(line: Line, place: object, name_at: float) -> Markup:
    assert callable(place)
    style = f"s{line.place % COLOURS}" + (" again" if line.place >= COLOURS else "")
    spots = [(place(x), _y(y)) for x, y, _ in line.points]
    bars = [
        Markup('<line class="bar {}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            style, px, px, _y(y - half), _y(y + half)
        )
        for (px, _), (_, y, half) in zip(spots, line.points, strict=True)
        if half == half
    ]
    path = " ".join(f"{x},{y}" for x, y in spots)
    dots = [Markup('<circle class="mark {}" cx="{}" cy="{}" r="2.6"/>').format(style, x, y) for x, y in spots]
    label = Markup('<text class="name {}" x="{}" y="{}">{}</text>').format(
        style, WIDTH - RIGHT + 8, name_at + 4, cut(line.name, 15)
    )
    return Markup("").join(
        [*bars, Markup('<polyline class="path {}" points="{}"/>').format(style, path), *dots, label]
    )
