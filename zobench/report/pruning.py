"""Accuracy and perplexity of pruned models at equal sparsity, and the fused scores against the others.

Shown if runs have space ``pruned``. Rows that trained the kept weights are listed, without a comparison.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from zobench.metrics.intervals import Interval, stratified_groups
from zobench.metrics.measures import SHARE
from zobench.names import json_value
from zobench.report.section import PageResults, Section

FUSED, METRICS = "fused", ("accuracy", "perplexity")


class Pruning(Section):
    """One line per task, sparsity and row."""

    name: ClassVar[str] = "pruning"
    title: ClassVar[str] = "Pruning"
    template: ClassVar[str] = "pruning.html"

    def query(self, results: PageResults) -> Mapping[str, Any]:
        used = described(results.runs[results.runs["usable"]])
        finals = results.source.finals
        chosen = finals["run_id"].isin(used["run_id"]) & finals["metric"].isin(METRICS)
        values = finals[chosen & (finals["split"] == "test") & (finals["condition_kind"] == "clean")]
        values = values[["run_id", "metric", "value"]].drop_duplicates(["run_id", "metric"])
        found = used.merge(values, on="run_id")
        return {
            "rows": table(found, results.labels),
            "seeds": int(used["seed"].nunique()) if len(used) else 0,
        }

    def applies(self, values: Mapping[str, Any]) -> bool:
        return bool(values["rows"])


def described(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with space ``pruned``, with columns ``criterion``, ``sparsity`` and ``trained``."""
    rows = []
    for r in runs[["run_id", "row", "block", "seed", "spec", "forwards"]].to_dict("records"):
        params = pruned(r.pop("spec"))
        if params is not None:
            rows.append({**r, "criterion": str(params.get("criterion")), "sparsity": params["sparsity"]})
    columns = ["run_id", "row", "block", "seed", "forwards", "criterion", "sparsity"]
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(trained=found["forwards"].fillna(0) > 0)


def pruned(spec: Any) -> dict[str, Any] | None:
    """The parameters of the space ``pruned`` in a run's specification; ``None`` for another space, and for
    what is no specification, as results of somebody else may hold."""
    try:
        space = json_value(spec)["space"]
        params: dict[str, Any] = space["params"]
        known = space["kind"] == "pruned" and isinstance(params["sparsity"], int | float)
        return params if known else None
    except (json.JSONDecodeError, LookupError, TypeError):
        return None


def table(found: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Means over seeds with 95 % t intervals; difference in accuracy, and ratio of perplexities, of the fused
    scores to each row of the same sparsity, paired by seed."""
    lines = []
    groups: Any = found.groupby(["block", "sparsity"], sort=True)
    for (block, sparsity), part in groups:
        fused = part[(part["criterion"] == FUSED) & ~part["trained"]]
        rows: Any = part.groupby("row", sort=False)
        for row, mine in rows:
            own = {m: _by_seed(mine, m) for m in METRICS}
            base = {m: _by_seed(fused, m) for m in METRICS}
            compared = mine["criterion"].iloc[0] != FUSED and not mine["trained"].any()
            gap = (base["accuracy"] - own["accuracy"]).dropna()
            ratio = (np.log(base["perplexity"]) - np.log(own["perplexity"])).dropna()
            lines.append(
                {
                    "label": labels.get(block, block),
                    "sparsity": f"{sparsity:g}",
                    "row": row,
                    "accuracy": _said(own["accuracy"], "{:.1f}", 100, share=True),
                    "perplexity": _said(own["perplexity"], "{:.2f}"),
                    "gap": _said(gap, "{:+.1f}", 100) if compared else "–",
                    "ratio": _said(ratio, "{:.3f}", power=True) if compared else "–",
                }
            )
    return lines


def _by_seed(part: pd.DataFrame, metric: str) -> pd.Series:
    return part[part["metric"] == metric].set_index("seed")["value"].sort_index()


def _said(
    values: pd.Series, form: str, scale: float = 1.0, *, share: bool = False, power: bool = False
) -> str:
    if not len(values):
        return "–"
    d: Interval = stratified_groups([values.to_numpy(dtype=float)])
    d = d.within(SHARE) if share else d
    ends = [scale * (math.exp(min(v, 700.0)) if power else v) for v in (d.value, d.low, d.high)]
    if not math.isfinite(d.low):
        return form.format(ends[0]).replace("-", "−")
    value, low, high = (form.format(end).replace("-", "−") for end in ends)
    return f"{value} [{low}, {high}]"
