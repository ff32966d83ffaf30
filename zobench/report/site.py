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
            curve("Test curve", *_primary(run)),
            curve("Training loss", run["steps"].get("x", []), run["steps"].get("loss", [])),
        ],
    }
    return page.render_plain("run.html", body)


def curve(title: str, x: list[Any], y: list[Any]) -> dict[str, Any] | None:
    """A run's values against forward passes as a chart with its caption; ``None`` with fewer than two."""
    known = [
        (float(a), float(b), math.nan, math.nan)
        for a, b in zip(x, y, strict=True)
        if a is not None and b is not None
    ]
    if len(known) < 2:
        return None
    low, high = min(b for _, b, *_ in known), max(b for _, b, *_ in known)
    frame = Frame(640, 200, 64, 12, low, high, ((low, f"{low:.4g}"), (high, f"{high:.4g}")))
    said = f"{title} against forward passes; lowest {low:.4g}, highest {high:.4g}."
    return {"drawing": draw([Line("", 0, tuple(known))], said, frame, "lines cd"), "caption": said}


def _primary(run: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Forward passes and values of the run's main test metric (accuracy, else the first by name)."""
    clean = [m for m in run["metrics"] if m[0] == "test" and m[1] == "clean"]
    names = sorted({m[3] for m in clean}, key=lambda n: (n != "accuracy", n))
    by_point = {m[4]: m[5] for m in clean if names and m[3] == names[0]}
    return list(by_point), list(by_point.values())
