"""What the suites on other systems cost at their quick size: a part of ``docs/systems.md``.

``docs/results/suite-times.json`` has one record per suite, written by hand from ``/usr/bin/time zobench run
suites/NAME.yaml``: suite, runs (trials included), workers, wall and processor time (user and system, all
processes) in minutes, load (1 minute, before and after), commit. ``None``: not measured.
"""

from __future__ import annotations

import json
from typing import Any

from zobench.studies import committed, markdown

NAME = "suite-times"
CORES = 2
LIMITS = {"vision": 8.0}
USUAL = 10.0
"""Minutes on two cores that a suite may take."""


def records() -> list[dict[str, Any]]:
    text = (committed.results() / f"{NAME}.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["suites"]
    return found


def limit(suite: str) -> float:
    return LIMITS.get(suite, USUAL)


def section() -> str:
    """The part of the page on times."""
    rows = []
    for r in records():
        cpu = r["cpu"]
        cells = [str(r["runs"]), str(r["workers"]), _minutes(r["wall"]), _minutes(cpu)]
        cells += [
            _minutes(None if cpu is None else cpu / CORES),
            f"{limit(r['suite']):g}",
            r["load"],
            r["commit"],
        ]
        rows.append([f"`{r['suite']}`", *cells])
    header = ["suite", "runs", "workers", "wall", "processor", "processor / 2", "limit", "load", "code"]
    return "\n".join([TEXT, *markdown.table(header, rows)])


def _minutes(value: float | None) -> str:
    return markdown.NOTHING if value is None else f"{value:.1f}"


TEXT = """## Times at quick size

`/usr/bin/time zobench run suites/NAME.yaml`, in minutes, trials and page included, on a machine with two
cores that other work kept busy (load). Processor time is that of all processes. Half of it is what the suite
takes on two idle cores if both are always busy; idle cores were not at hand.
"""
