"""Writes a small page for every run, in addition to the leaderboard page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.report import page, runpages
from zobench.report.lines import Frame, Line, draw
from zobench.store.paths import run_page_file

if TYPE_CHECKING:
    from zobench.report.analysis import Analysis

AT_A_TIME = 200


def write_run_pages(found: Analysis, folder: Path) -> list[Path]:
    """Write ``folder/pages/<run id>.html`` for every result run and return the paths."""
    target = folder / "pages"
    target.mkdir(parents=True, exist_ok=True)
    names = [s.row for s in found.ranking.standings]
    place = {n: i for i, n in enumerate(names)}
    written = []
    for start in range(0, len(found.runs), AT_A_TIME):
        for run in runpages.describe(found.source, found.runs.iloc[start : start + AT_A_TIME], place):
            path = run_page_file(target, run["id"])
            path.write_text(run_page(run, names[run["r"]], found), encoding="utf-8")
            written.append(path)
    return written


def run_page(run: dict[str, Any], name: str, found: Analysis) -> str:
    """One run as a separate page without scripts; its curves are static charts."""
    body = {
        "run": run,
        "name": name,
        "board": found.board,
        "curves": [
            curve(*_primary(run)),
            curve("training loss", run["steps"].get("x", []), run["steps"].get("loss", [])),
        ],
    }
    return page.render_plain("run.html", body)


def curve(metric: str, x: list[Any], y: list[Any]) -> dict[str, Any] | None:
    """A run's values against forward passes as a chart with its caption; ``None`` with fewer than two."""
    known = [
        (float(a), float(b), math.nan, math.nan)
        for a, b in zip(x, y, strict=True)
        if a is not None and b is not None
    ]
    if len(known) < 2:
        return None
    low, high = min(b for _, b, *_ in known), max(b for _, b, *_ in known)
    ends = page.measured(low, metric), page.measured(high, metric)
    frame = Frame(400, 180, 52, 14, low, high, ((low, ends[0]), (high, ends[1])))
    name = metric if metric == "training loss" else f"test {metric.replace('_', ' ')}"
    said = f"{name[0].upper()}{name[1:]} against forward passes; lowest {ends[0]}, highest {ends[1]}."
    return {"drawing": draw([Line("", 0, tuple(known))], said, frame), "caption": said}


def _primary(run: dict[str, Any]) -> tuple[str, list[Any], list[Any]]:
    """Name, forward passes and values of the run's main test metric (accuracy, else the first by name)."""
    clean = [m for m in run["metrics"] if m[0] == "test" and m[1] == "clean"]
    names = sorted({m[3] for m in clean}, key=lambda n: (n != "accuracy", n))
    by_point = {m[4]: m[5] for m in clean if names and m[3] == names[0]}
    return names[0] if names else "", list(by_point), list(by_point.values())
