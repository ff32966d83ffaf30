"""Extracts two small files from the results of a suite that compares methods, for ``zobench.studies.claims``.

``docs/results/NAME.parquet`` has one record per run and evaluation point: task, row, group, selected
parameters, seed, forward passes, test accuracy. ``NAME-trials.parquet`` has one record per tuning trial:
task, row, parameters, seed, validation score, cost.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zobench.store.reader import read
from zobench.studies import committed

COLUMNS = ["task", "row", "group", "params", "seed", "forwards", "accuracy", "chance", "budget", "commit"]
TRIALS = ["task", "row", "params", "seed", "status", "validation", "forwards"]


def compact(folder: Path, name: str, to: Path | None = None) -> None:
    """Write both files of the results folder into ``to`` (``docs/results``)."""
    found = read([folder], ("runs", "metrics"))
    to = to or committed.results()
    committed.keep(_points(found.runs, found.metrics), to / f"{name}.parquet")
    committed.keep(_trials(found.runs, found.metrics), to / f"{name}-trials.parquet")


def _points(runs: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """The clean test accuracy of every finished run."""
    runs = runs[(runs["purpose"] == "result") & runs["status"].isin(("done", "diverged", "budget"))]
    clean = (metrics["split"] == "test") & (metrics["condition_kind"] == "clean")
    points = metrics[clean & (metrics["metric"] == "accuracy")]
    points = points[["run_id", "forwards", "value"]].rename(columns={"value": "accuracy"})
    renamed = {"method_params": "params", "budget_forwards": "budget", "git_commit": "commit"}
    table = runs.rename(columns=renamed).drop(columns="forwards").merge(points, on="run_id")
    return table[COLUMNS].sort_values(["task", "row", "seed", "forwards"], ignore_index=True)


def _trials(runs: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """All tuning trials."""
    scored = metrics[(metrics["split"] == "validation") & metrics["final"]]
    scored = scored[["run_id", "metric", "value"]].rename(columns={"value": "validation"})
    runs = runs[runs["purpose"] == "tuning"].drop(columns="row")
    runs = runs.rename(columns={"method_params": "params", "tuning_of": "row"})
    scored = scored.rename(columns={"metric": "primary_metric"})
    table = runs.merge(scored, how="left", on=["run_id", "primary_metric"])
    return table[TRIALS].sort_values(["task", "row", "params", "seed"], ignore_index=True)
