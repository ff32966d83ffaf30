"""Extracts a small file from the results of a suite on images: clean and attacked measurements of its runs.

``docs/results/NAME.parquet`` has one record per run, evaluation point, condition and metric: task (and its
variant, as the page names it), row, group, seed, the planned point ``at`` (the budget for the last one),
``clean``, ``attack`` or ``null`` (the budget-matched random baseline) with the attack's name, metric, value,
number of examples, budget, commit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from zobench.defences.votes import NO_ANSWER
from zobench.store.reader import read
from zobench.studies import committed

ABOUT = ["task", "row", "group", "seed", "budget", "commit"]
MEASURED = ["at", "kind", "attack", "metric", "value", "n"]
KEPT = ("accuracy", "accuracy_before", "abstained", "abstained_after", "queries", "success_rate")
"""Metrics of the file, besides those whose name has ``_at_``."""


def compact(folder: Path, name: str, to: Path | None = None) -> None:
    """Write the file of the results folder into ``to`` (``docs/results``)."""
    found = read([folder], ("runs", "metrics", "attacks"))
    runs = found.runs[(found.runs["purpose"] == "result") & (found.runs["status"] == "done")]
    runs = runs.rename(columns={"budget_forwards": "budget", "git_commit": "commit"})
    runs = runs.assign(task=[_variant(t, p) for t, p in zip(runs["task"], runs["task_params"], strict=True)])
    metrics = found.metrics[found.metrics["split"] == "test"]
    metrics = metrics.rename(columns={"condition_kind": "kind", "condition": "attack"})
    metrics = metrics.assign(at=[json.loads(p).get("at") for p in metrics["params"]])
    metrics = pd.concat([metrics, _abstained(found.attacks)])
    shown = metrics["metric"].isin(KEPT) | metrics["metric"].str.contains("_at_")
    metrics = metrics[metrics["kind"].isin(("clean", "attack", "null")) & shown]
    table = runs[["run_id", *ABOUT]].merge(metrics[["run_id", *MEASURED]], on="run_id")
    table = table.assign(at=table["at"].astype(float).fillna(table["budget"]))  # the end has no planned point
    order = ["task", "row", "seed", "at", "kind", "attack", "metric"]
    kept = table[[*ABOUT, *MEASURED]].sort_values(order, ignore_index=True)
    committed.keep(kept, (to or committed.results()) / f"{name}.parquet")


def _variant(task: str, params: str) -> str:
    """``smoothvlm mask 0.2``, ``smoothed-images prediction``; other tasks by their name."""
    given: dict[str, Any] = json.loads(params)
    if task == "smoothvlm":
        return f"{task} {given['change']} {given['rate']:g}"
    return f"{task} {given['target']}" if task == "smoothed-images" else task


def _abstained(attacks: pd.DataFrame) -> pd.DataFrame:
    """Metric ``abstained_after``: of all examples under an attack, the share whose last answer abstains."""
    if attacks.empty:
        return pd.DataFrame()
    keys = ["run_id", "forwards", "condition_kind", "condition"]
    shares = (attacks["final_output"] == NO_ANSWER).groupby([attacks[k] for k in keys]).agg(["mean", "size"])
    renamed = {"condition_kind": "kind", "condition": "attack", "mean": "value", "size": "n"}
    found = shares.reset_index().rename(columns=renamed)
    last = found.groupby("run_id")["forwards"].transform("max")
    return found.assign(metric="abstained_after", at=found["forwards"].where(found["forwards"] < last))
