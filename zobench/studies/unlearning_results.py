"""Extracts three small files from the results of the full unlearning suite, for
``zobench.studies.unlearning_claims``.

    python -m zobench.studies.unlearning_results RESULTS

``docs/results/unlearning-full.parquet`` has one record per run, probed model (``split``), probe and setting:
forget score, retained score, recovery rate (``s``). ``unlearning-full-runs.parquet`` has one record per run:
parameters, cost, distance, other measures. ``unlearning-full-trials.parquet`` has all tuning trials.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from zobench.report import forgetting
from zobench.report.source import Source, open_results
from zobench.studies import committed

KEYS = ["objective", "row", "seed"]
MATCHED = ("matched-forget", "matched-retain")
KEPT = ("utility", "privleak", "forget_open_accuracy", "forget_choice_accuracy", "forget_rouge_l_recall")


def compact(folder: Path, to: Path | None = None, name: str = "unlearning-full") -> None:
    """Write the three files of a results folder into ``to`` (``docs/results``)."""
    to = to or committed.results()
    source = open_results(folder)
    about = source.runs.set_index("run_id")
    points = forgetting.probed(source).assign(objective=lambda d: d["run_id"].map(about["task"]))
    columns = [*KEYS, "role", "split", "condition", "strength", "params", "value", "retained", "s"]
    numbers = ["value", "retained", "s"]
    points[numbers] = points[numbers].astype(float).round(5)
    tables = {"": points[columns], "-runs": _runs(source), "-trials": _trials(source)}
    for ending, table in tables.items():
        ordered = table.sort_values([c for c in table.columns if c in columns[:-3]], ignore_index=True)
        committed.keep(ordered, to / f"{name}{ending}.parquet")


def _wide(source: Source, kind: str, split: str, names: tuple[str, ...]) -> pd.DataFrame:
    """Final metrics without a probe by run id."""
    f = source.finals
    mine = f[(f["condition_kind"] == kind) & (f["split"] == split) & f["metric"].isin(names)]
    mine = mine[mine["condition"].fillna("").isin(("", "none"))]
    return mine.pivot_table(index="run_id", columns="metric", values="value", aggfunc="mean")


def _runs(source: Source) -> pd.DataFrame:
    """One record per result run."""
    runs = source.results.rename(
        columns={"task": "objective", "method_params": "params", "git_commit": "commit"}
    )
    runs = runs.assign(
        role=runs["run_id"].map(forgetting.roles(runs)), memory=runs["peak_memory_bytes"] / 2**20
    )
    wide = _wide(source, "clean", "test", ("backwards", "distance", "reached", *KEPT))
    for split in MATCHED:
        wide = wide.join(_wide(source, "probe", split, ("position",)).rename(columns={"position": split}))
    numbers = ["forwards", "train_seconds", "memory", *wide.columns]
    table = runs.merge(wide, left_on="run_id", right_index=True, how="left")
    table[numbers] = table[numbers].astype(float).round(5)
    return table[[*KEYS, "role", "params", "status", *numbers, "commit"]]


def _trials(source: Source) -> pd.DataFrame:
    """One record per tuning trial, with the score used for selection (``selection``) and the forget score."""
    trials = source.runs[source.runs["purpose"] == "tuning"].drop(columns="row")
    trials = trials.rename(columns={"task": "objective", "method_params": "params", "tuning_of": "row"})
    f = source.finals[
        source.finals["run_id"].isin(trials["run_id"]) & (source.finals["split"] == "validation")
    ]
    wide = f.pivot_table(index="run_id", columns="metric", values="value", aggfunc="mean")
    for name, metric in (("selection", "selection_score"), ("retained", "retained")):
        trials[name] = trials["run_id"].map(wide[metric]) if metric in wide else np.nan
    primary = f[f["metric"] == f["primary_metric"]].groupby("run_id")["value"].mean()
    trials["validation"] = trials["run_id"].map(primary)
    return trials[[*KEYS, "params", "status", "validation", "retained", "selection", "forwards"]]


if __name__ == "__main__":
    compact(Path(sys.argv[1]))
