"""The section of the page on unlearning: comparisons with their sentences, probes, curves, costs."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from zobench.report import forgetting, overview, tables
from zobench.report.forgetting import Comparison
from zobench.report.leaderboard import Leaderboard
from zobench.report.lines import COLOURS
from zobench.report.source import Source

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 260, 44, 30
DASHES = ("", "7 4", "2 3", "9 3 2 3", "1 5", "12 4")


def section(source: Source, runs: pd.DataFrame, board: Leaderboard) -> dict[str, Any] | None:
    """Values for the template; ``None`` where the page is not about unlearning."""
    if not forgetting.is_unlearning(source):
        return None
    frame = forgetting.probed(source)
    if frame.empty or frame["s"].isna().all():
        return None
    conditions = [c for c in dict.fromkeys(frame["condition"]) if c != "none"]
    methods = sorted(set(runs.loc[runs["group"] == "method", "row"]))
    return {
        "comparisons": [_comparison(c) for c in forgetting.compare(source, runs, board)],
        "conditions": ["none", *conditions],
        "probes": [
            {"split": split, "title": title, "lines": forgetting.by_probe(frame, split)}
            for split, (title, _) in forgetting.SPLITS.items()
            if (frame["split"] == split).any()
        ],
        "curves": [
            {"probe": probe, "drawing": curve_drawing(probe, lines, methods), "lines": lines}
            for probe, lines in forgetting.training_curves(frame, "matched-retain").items()
        ],
        "measures": forgetting.by_measure(source, runs),
        "costs": forgetting.costs(source, runs),
    }


def _comparison(found: Comparison) -> dict[str, Any]:
    ranking = found.ranking
    return {
        "title": found.title,
        "text": found.text,
        "headline": overview.headline(ranking),
        "holds": overview.findings(ranking),
        "open": overview.undecided(ranking),
        "rows": [
            {
                "row": s.row,
                "kind": "ranked" if s.ranked else "apart" if s.reasons else s.group,
                "text": tables.spoken(s.interval, ranking.board),
                "value": None if s.interval is None else s.interval.value,
                "rank": s.rank,
                "why": "; ".join(s.reasons),
            }
            for s in ranking.standings
        ],
    }


def curve_drawing(probe: str, lines: dict[str, list[tuple[float, float]]], methods: list[str]) -> Markup:
    """S against training steps, a line per row with its name at its end: methods in colours and dashes of
    their own, so that colour is not needed to tell them apart, controls thin and grey."""
    points = [p for line in lines.values() for p in line]
    wide = max(x for x, _ in points) or 1.0
    low, high = min(0.0, *(y for _, y in points)), max(1.0, *(y for _, y in points))
    inner = WIDTH - LEFT - 190

    def place(x: float, y: float) -> tuple[float, float]:
        down = (high - y) / (high - low) * (HEIGHT - BOTTOM - 10)
        return round(LEFT + x / wide * inner, 1), round(10 + down, 1)

    parts = [_axis(place, wide, low, high)]
    ends = _spread([(name, place(*sorted(line)[-1])[1]) for name, line in lines.items()])
    for name, line in lines.items():
        i = methods.index(name) if name in methods else None
        style, dashes = ("control", "") if i is None else (f"s{i % COLOURS}", DASHES[i % len(DASHES)])
        text = " ".join(f"{x},{y}" for x, y in (place(*p) for p in sorted(line)))
        parts.append(
            Markup('<polyline class="path {}" points="{}" stroke-dasharray="{}"/>').format(
                style, text, dashes
            )
        )
        parts.append(
            Markup('<text class="name {}" x="{}" y="{}">{}</text>').format(
                style, LEFT + inner + 8, ends[name] + 4, name
            )
        )
    label = f"S after {probe} against its steps, worst setting: " + "; ".join(
        f"{name} from {sorted(line)[0][1]:.2f} to {sorted(line)[-1][1]:.2f}" for name, line in lines.items()
    )
    return Markup('<svg class="lines cd" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        label, WIDTH, HEIGHT, Markup("").join(parts)
    )


def _axis(place: Any, wide: float, low: float, high: float) -> Markup:
    (x0, y0), (x1, _) = place(0, low), place(wide, low)
    out = Markup('<line class="cd-axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x0, x1, y0, y0)
    marks = [0.0, 0.5, 1.0]
    for value in marks + [v for v in (low, high) if min(abs(v - m) for m in marks) > (high - low) / 10]:
        y = place(0, value)[1]
        out += Markup('<text class="cd-tick" x="4" y="{}">{}</text>').format(y + 4, f"{value:.1f}")
    for value in (0.0, wide):
        x = place(value, low)[0]
        out += Markup('<text class="cd-tick" x="{}" y="{}">{} steps</text>').format(
            x - 8, HEIGHT - 8, f"{value:.0f}"
        )
    return out


def _spread(ends: list[tuple[str, float]], gap: float = 15.0) -> dict[str, float]:
    """Heights of the names, moved apart where lines end close together."""
    found: dict[str, float] = {}
    last = -gap
    for name, y in sorted(ends, key=lambda e: e[1]):
        last = max(y, last + gap)
        found[name] = last
    over = max(0.0, last - (HEIGHT - 8))
    return {name: y - over for name, y in found.items()}
