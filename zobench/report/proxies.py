"""How well proxies rank untrained networks: table of Kendall's tau, and scores against trained accuracies.

Each run of a task of kind ``proxy`` has, as metrics, tau of the learned proxy that it trains and of the
proxies without training on the same networks (the same for all rows of a seed), and stores the scores of
every network with its predictions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from markupsafe import Markup
from scipy.stats import rankdata

from zobench.metrics.intervals import stratified_groups
from zobench.names import json_value
from zobench.report import svg
from zobench.report.lines import Frame, spots
from zobench.report.section import PageResults, Section
from zobench.report.source import PROXY, Source, runs_in

LEARNED = "kendall_tau"
PREFIX = "kendall_tau_"
CONTROL = "parameters"
FRAME = Frame(380, 190, 34, 12, 0.0, 1.0, ((0.0, "0"), (0.5, "50"), (1.0, "100")))
MOST_CHARTS, MOST_NETS = 16, 400
"""Largest numbers of charts, and of networks of one chart."""


class Proxies(Section):
    """Kendall's tau of every proxy on every task, and one chart each."""

    name: ClassVar[str] = "proxies"
    title: ClassVar[str] = "Proxies"
    template: ClassVar[str] = "proxies.html"

    def query(self, results: PageResults) -> Mapping[str, Any]:
        used = results.runs[results.runs["usable"]]
        if "task_kind" not in used or not (used["task_kind"] == PROXY).any():
            return {"rows": [], "charts": [], "seeds": 0}
        used = used[used["task_kind"] == PROXY]
        names = [r["row"] for r in results.rows]
        values = taus(results.source, used["run_id"].tolist(), names)
        return {
            "rows": table(values, results.labels),
            "charts": charts(results.source, used, names, results.labels),
            "seeds": int(used["seed"].nunique()),
        }

    def applies(self, values: Mapping[str, Any]) -> bool:
        return bool(values["rows"])


def taus(source: Source, ids: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Columns ``block``, ``proxy``, ``seed``, ``value``: learned proxies by row, then those without training,
    which any row of the seed has measured."""
    finals = source.finals[source.finals["run_id"].isin(ids) & (source.finals["split"] == "test")]
    named = finals[finals["metric"].str.startswith(LEARNED)].sort_values("run_id")
    mine = named[named["metric"] == LEARNED].assign(proxy=lambda t: t["row"])
    mine = mine[mine["row"].isin(names)]
    fixed = named[named["metric"].str.startswith(PREFIX)]
    fixed = fixed.assign(proxy=fixed["metric"].str[len(PREFIX) :].str.replace("_", "-"))
    fixed = fixed.drop_duplicates(["block", "proxy", "seed"])
    order = {name: i for i, name in enumerate(names)}
    mine = mine.sort_values("row", key=lambda rows: rows.map(order), kind="stable")
    return pd.concat([mine, fixed])[["block", "proxy", "seed", "value"]]


def table(values: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """One line per task and proxy: tau with its 95 % interval over seeds, and the difference to the number of
    weights, paired by seed."""
    lines = []
    groups: Any = values.groupby("block", sort=True)
    for block, part in groups:
        control = part[part["proxy"] == CONTROL].set_index("seed")["value"]
        for proxy in part["proxy"].drop_duplicates():
            own = part[part["proxy"] == proxy].set_index("seed")["value"].sort_index()
            gap = (own - control).dropna() if proxy != CONTROL else own.iloc[:0]
            lines.append(
                {
                    "label": labels.get(block, block),
                    "proxy": proxy,
                    "tau": said(own),
                    "gap": said(gap) if len(gap) else "–",
                    "value": float(own.mean()),
                    "n": len(own),
                }
            )
    return lines


def said(values: pd.Series) -> str:
    """Mean and 95 % t interval; a single value has none."""
    found = stratified_groups([values.to_numpy(dtype=float)])
    if not math.isfinite(found.low):
        return f"{found.value:+.2f}".replace("-", "−")
    return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]".replace("-", "−")


def charts(
    source: Source, used: pd.DataFrame, names: Sequence[str], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """For each task: accuracy against the rank by each proxy, of the networks of the smallest seed. Learned
    proxies are those of the rows that were trained."""
    first = used[used["seed"] == used["seed"].min()]
    found = source.sql(
        f"""select r.block, r."row", p.raw from predictions p join runs r using (run_id)
        where run_id in {runs_in(first["run_id"].tolist())} and p.condition_kind = 'clean'
        order by r.block, r."row", p.example_id"""
    )
    out: list[dict[str, Any]] = []
    groups: Any = found.groupby("block", sort=True)
    for block, part in groups:
        by_row = {str(row): _scores(rows["raw"]) for row, rows in part.groupby("row", sort=False)}
        seen = [name for name in names if name in by_row]
        drawn = [(name, by_row[name].get("learned"), by_row[name].get("accuracy")) for name in seen]
        every = by_row[seen[0]] if seen else {}
        rest = [n for n in every if n not in ("learned", "accuracy")]
        drawn += [(name, every[name], every.get("accuracy")) for name in rest]
        for name, score, accuracy in drawn:
            if score and accuracy and len(score) == len(accuracy) and len(out) < MOST_CHARTS:
                title = f"{labels.get(block, block)}, {name}"
                out.append({"title": title, "svg": scatter(score, accuracy, title)})
    return out


def _scores(raw: pd.Series) -> dict[str, list[float]]:
    """Finite numbers by name, of the networks that have all of them; a store may come from elsewhere."""
    read = [json_value(str(text)) for text in raw[:MOST_NETS]]
    rows = [r for r in read if isinstance(r, dict) and r and all(_finite(v) for v in r.values())]
    names = rows[0] if rows else {}
    return {str(name): [float(r[name]) for r in rows if name in r] for name in names}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def scatter(score: Sequence[float], accuracy: Sequence[float], title: str) -> Markup:
    """Accuracy in percent against the rank by the proxy, 1 the lowest score; equal scores share a rank."""
    ranks = rankdata(np.asarray(score))
    points = sorted(zip(ranks.tolist(), accuracy, strict=True))
    told = ", ".join(f"{100 * y:.0f} at {x:g}" for x, y in points)
    return svg.drawing(
        "lines",
        f"{title}: accuracy in percent by rank. {told}",
        FRAME.width,
        FRAME.height,
        spots(points, FRAME),
    )
