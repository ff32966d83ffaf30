"""Curves of certified defences: accuracy against the radius; success of the vote against the number of
changed characters that break the adversarial suffix.

Tasks report such curves as metrics named ``certified_accuracy_at_R`` and ``defence_success_at_K``. The point
at radius 0 is the accuracy, because on examples without a certificate the defence abstains, which counts as
wrong.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from zobench.metrics.intervals import stratified_groups
from zobench.metrics.measures import SHARE
from zobench.report.lines import Line, chart
from zobench.report.source import Source
from zobench.report.tables import labels

PATTERN = r"^(certified_accuracy|defence_success)_at_([\d.e+-]+)$"
TITLES = {
    "certified_accuracy": "certified accuracy, by radius",
    "defence_success": "success of the vote, by changed characters that break the suffix",
}


def certified(source: Source, rows: list[str]) -> list[dict[str, Any]]:
    """One drawing per task and kind of certificate, a line per row: means over seeds with their intervals."""
    finals = source.finals
    clean = (finals["split"] == "test") & (finals["condition_kind"] == "clean") & finals["row"].isin(rows)
    finals = finals[clean & (finals["purpose"] != "tuning")]
    named = finals["metric"].str.extract(PATTERN)
    points = finals.assign(kind=named[0], x=pd.to_numeric(named[1])).dropna(subset=["kind"])
    with_radii = points.loc[points["kind"] == "certified_accuracy", "block"].unique()
    zero = finals[(finals["metric"] == "accuracy") & finals["block"].isin(with_radii)]
    points = pd.concat([points, zero.assign(kind="certified_accuracy", x=0.0)])
    names, out = labels(source), []
    drawings: Any = points.groupby(["block", "kind"], sort=True)
    for (block, kind), part in drawings:
        lines = [
            Line(row, i, _points(part[part["row"] == row]))
            for i, row in enumerate(rows)
            if (part["row"] == row).any()
        ]
        title = TITLES[kind]
        out.append({"label": names.get(block, block), "name": title, "svg": chart(lines, title)})
    return out


def _points(part: pd.DataFrame) -> tuple[tuple[float, float, float, float], ...]:
    found = []
    groups: Any = part.drop_duplicates(["run_id", "x"]).groupby("x", sort=True)["value"]
    for x, values in groups:
        interval = stratified_groups([values.to_numpy(dtype=float)]).within(SHARE)
        found.append((float(x), interval.value, interval.low, interval.high))
    return tuple(found)
