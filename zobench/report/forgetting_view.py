"""The section of the page on unlearning: comparisons with verdicts, probes, curves, costs."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from markupsafe import Markup

from zobench.report import forgetting, overview, tables
from zobench.report.forgetting import ForgettingComparison
from zobench.report.leaderboard import Leaderboard
from zobench.report.lines import Frame, Line, draw
from zobench.report.source import Source

MARKS = (0.0, 0.5, 1.0)


def section(source: Source, runs: pd.DataFrame, board: Leaderboard) -> dict[str, Any] | None:
    """Values for the template; ``None`` if the page is not about unlearning."""
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


def _comparison(found: ForgettingComparison) -> dict[str, Any]:
    ranking = found.ranking
    return {
        "title": found.title,
        "text": found.text,
        "headline": overview.headline(ranking),
        "rule": overview.rule(ranking.board),
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
    """Recovery rate against training steps, one line per row: methods in colours, baselines thin and grey."""
    drawn = [
        Line(
            name,
            methods.index(name) if name in methods else None,
            tuple((x, y, math.nan, math.nan) for x, y in sorted(line)),
        )
        for name, line in lines.items()
    ]
    values = [y for line in drawn for _, y, *_ in line.points]
    low, high = min(0.0, *values), max(1.0, *values)
    ends = [v for v in (low, high) if min(abs(v - m) for m in MARKS) > (high - low) / 10]
    marks = tuple((v, f"{100 * v:.0f}") for v in (*MARKS, *ends))
    label = f"Recovery rate after {probe} against its steps, worst setting: " + "; ".join(
        f"{s.name} from {100 * s.points[0][1]:.1f} to {100 * s.points[-1][1]:.1f} %" for s in drawn
    )
    frame = Frame(640, 260, 44, 190, low, high, marks, room=15, letters=28)
    return draw(drawn, label, frame, "lines cd")
