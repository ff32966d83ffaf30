"""Runs of a suite on generated images as a compact table: what ``docs/systems.md`` is made from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from zobench.metrics.intervals import stratified_groups
from zobench.store.reader import read
from zobench.studies import committed

ABOUT = ["task", "row", "group", "params", "seed", "status", "commit", "memory"]
COLUMNS = [*ABOUT, "at", "metric", "value"]
ORDER = ["task", "row", "seed", "metric", "at"]


def compact(folder: Path, name: str, task_of: str = "") -> None:
    """Write ``docs/results/NAME.parquet``: one record per result, evaluation point and metric. ``task_of``:
    the task's parameter that names it."""
    found = read([folder], ("runs", "metrics"))
    runs = found.runs[found.runs["purpose"] == "result"]
    runs = runs.rename(
        columns={"method_params": "params", "git_commit": "commit", "peak_memory_bytes": "memory"}
    )
    if task_of:
        runs = runs.assign(task=[json.loads(spec)["task"]["params"][task_of] for spec in runs["spec"]])
    clean = found.metrics[found.metrics["split"] == "test"]
    clean = clean.assign(at=[json.loads(p)["at"] for p in clean["params"]])
    table = runs[["run_id", *ABOUT]].merge(clean[["run_id", "at", "metric", "value"]], on="run_id")[COLUMNS]
    committed.keep(table.sort_values(ORDER, ignore_index=True), committed.results() / f"{name}.parquet")


def final(points: pd.DataFrame, row: str, metric: str) -> pd.Series:
    """The metric at the end of each run of a row, by seed."""
    found = points[(points["row"] == row) & (points["metric"] == metric)]
    last = found[found["at"] == found.groupby("seed")["at"].transform("max")]
    return last.set_index("seed")["value"].sort_index()


def difference(ours: pd.Series, theirs: pd.Series, form: str = "{:+.3f}") -> str:
    """Mean difference on common seeds, with its 95 % t interval."""
    assert list(ours.index) == list(theirs.index), "compared on common seeds"
    d = stratified_groups([np.asarray(ours - theirs, dtype=float)])
    return f"{form.format(d.value)} [{form.format(d.low)}, {form.format(d.high)}]"
