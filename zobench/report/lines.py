"""Static line charts: accuracy under attack, training after unlearning, curves of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from zobench.report import svg

COLOURS = 6
"""Series colours that the style sheet defines."""
DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5", "12 4")
"""Every line also has its own dash pattern, so that lines can be distinguished without colour."""
MOST_DOTS = 30


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its place (which decides colour and dashes; ``None`` draws it thin and grey) and its points
    (x, y, ends of the interval or nan).
    """

    name: str
    place: int | None
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """Size of a chart in pixels, its margins, the range of y with its labelled values, and the space for the
    names at the ends of the lines: pixels between them and letters of each.
    """

    width: int
    height: int
    left: int
    right: int
    low: float
    high: float
    marks: tuple[tuple[float, str], ...]
    room: float = 11
    letters: int = 15
    top: int = 10
    bottom: int = 24
    tick_room: float = 24

    def across(self, xs: Sequence[float]) -> svg.Scale:
        """Pixels of x."""
        low, high = (xs[0], xs[-1]) if xs else (0.0, 1.0)
        return svg.Scale(low, high, self.left, self.width - self.right)

    def up(self) -> svg.Scale:
        """Pixels of y."""
        return svg.Scale(self.low, self.high, self.height - self.bottom, self.top)


SHARES = Frame(380, 190, 34, 96, 0.0, 1.0, ((0.0, "0"), (0.5, "50"), (1.0, "100")))
"""The frame of all charts of accuracy: percent from 0 to 100."""


def chart(lines: Sequence[Line], title: str) -> Markup:
    """Accuracy in percent against x; the text alternative lists every point."""
    said = "; ".join(
        f"{s.name}: " + ", ".join(f"{100 * y:.1f} at {x:g}" for x, y, *_ in s.points) for s in lines
    )
    return draw(lines, f"{title}. {said}", SHARES)


def draw(lines: Sequence[Line], label: str, frame: Frame, style: str = "lines") -> Markup:
    """Lines in a frame, each with its name at its end."""
    xs = sorted({x for line in lines for x, *_ in line.points})
    across, up = frame.across(xs), frame.up()
    ends = svg.apart([up(s.points[-1][1]) for s in lines], frame.room, frame.height - frame.bottom)
    parts = [*_grid(frame, up), *_ticks(frame, across, xs)]
    for line, end in zip(lines, ends, strict=True):
        parts += _drawn(line, across, up)
        parts.append(
            svg.text(
                f"name {_style(line)}",
                frame.width - frame.right + 8,
                end + 4,
                svg.cut(line.name, frame.letters),
            )
        )
    return svg.drawing(style, label, frame.width, frame.height, parts)


def _grid(frame: Frame, up: svg.Scale) -> list[Markup]:
    right = frame.width - frame.right
    rules = [svg.line("grid", frame.left, right, up(v), up(v)) for v, _ in frame.marks]
    return rules + [svg.text("tick", frame.left - 5, up(v) + 4, said, "end") for v, said in frame.marks]


def _ticks(frame: Frame, across: svg.Scale, xs: Sequence[float]) -> list[Markup]:
    few = xs if len(xs) <= 6 else [xs[0], xs[len(xs) // 2], xs[-1]]
    apart = [x for x, after in pairwise(few) if across(after) - across(x) >= frame.tick_room]
    return [svg.text("tick", across(x), frame.height - 7, f"{x:g}", "middle") for x in (*apart, *few[-1:])]


def _style(line: Line) -> str:
    return "control" if line.place is None else f"s{line.place % COLOURS}"


def _drawn(line: Line, across: svg.Scale, up: svg.Scale) -> list[Markup]:
    style, place = _style(line), line.place or 0
    spots = [(across(x), up(y)) for x, y, *_ in line.points]
    bars = [
        svg.line(f"bar {style}", x, x, up(low), up(high))
        for (x, _), (_, _, low, high) in zip(spots, line.points, strict=True)
        if low == low
    ]
    dots = [svg.dot(f"mark {style}", x, y, 2.6) for x, y in spots] if len(spots) <= MOST_DOTS else []
    return [*bars, svg.path(f"path {style}", spots, DASHES[(place + place // COLOURS) % len(DASHES)]), *dots]


def spots(points: Sequence[tuple[float, float]], frame: Frame) -> list[Markup]:
    """Points (x, y) without lines, in a frame with its grid."""
    xs = sorted({x for x, _ in points})
    across, up = frame.across(xs), frame.up()
    dots = [svg.dot("mark s0", across(x), up(y), 2.6) for x, y in points]
    return [*_grid(frame, up), *_ticks(frame, across, xs), *dots]
