"""Extracts three small files from the results of the full robustness suite for :mod:`.robustness`.

    python -m zobench.studies.robustness_results RESULTS

``docs/results/robustness-full.parquet``: one record per row, task and attack, means over seeds, as on the
leaderboard page. ``-numbers.parquet``: numbers against no numbers in the same sentence. ``-finals.parquet``:
final measurements of every run without attack, and areas under the ROC curve of membership inference.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import special

from zobench.metrics.intervals import Interval
from zobench.report import robustness
from zobench.report.analysis import analyse
from zobench.report.source import Source
from zobench.studies import committed

NAME = "robustness-full"
ENDINGS = ("", "-numbers", "-finals")
SHARES = ("accuracy_before", "accuracy", "success_rate", "null_success_rate")
MEASURES = (*SHARES, "queries", "similarity", "changed_words", "length_ratio")
FINALS = ["row", "task", "seed", "condition", "metric", "value", "commit"]


def compact(folder: Path, to: Path | None = None) -> None:
    """Write the three files of a results folder into ``to`` (``docs/results``)."""
    found = analyse(folder)
    robust = robustness.collect(found.source, found.ranking)
    tables = (
        pd.DataFrame([_attack(c) for c in robust["measured"]]),
        pd.DataFrame([_number(c) for c in _numbers(robust)]),
        _finals(found.source),
    )
    to = to or committed.results()
    for ending, table in zip(ENDINGS, tables, strict=True):
        few = table.assign(**{c: table[c].round(5) for c in table.select_dtypes("float").columns})
        committed.keep(few, to / f"{NAME}{ending}.parquet")


def _attack(cell: dict[str, Any]) -> dict[str, Any]:
    about = {"row": cell["row"], "task": cell["label"], "attack": cell["condition"]}
    return {**about, **{n: cell[n] for n in MEASURES}, **flat("beyond_null", cell["null_gap"])}


def _numbers(robust: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the contrast that measures the effect of numbers in the irrelevant sentence."""
    return [
        line for part in robust["contrasts"] if part["contrast"].name == "numbers" for line in part["lines"]
    ]


def _number(cell: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": cell["row"],
        "task": cell["label"],
        "arm": cell["second"],
        "without": cell["accuracy_first"],
        "with": cell["accuracy_second"],
        "pairs": cell["n"],
        "seeds": cell["seeds"],
        "only_without": cell["discordant"][0],
        "only_with": cell["discordant"][1],
        **flat("gap", cell["gap"]),
    }


def _finals(source: Source) -> pd.DataFrame:
    f = source.finals
    kept = (f["condition_kind"] == "clean") | f["metric"].str.startswith("auc:")
    runs = source.runs.set_index("run_id")
    finals = f[kept & (f["split"] == "test") & (f["purpose"] != "tuning")]
    task, commit = (finals["run_id"].map(runs[c]) for c in ("task", "git_commit"))
    return finals.assign(task=task, commit=commit)[FINALS]


def flat(name: str, interval: Interval | None) -> dict[str, float]:
    """Value and ends of the interval, and the p-value of the corresponding t test."""
    if interval is None:
        return {f"{name}{e}": float("nan") for e in ("", "_low", "_high", "_p")}
    t = abs(interval.value) / interval.stderr if interval.stderr > 0 else float("nan")
    p = 2 * float(special.stdtr(interval.df, -t)) if t == t else float("nan")
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high, f"{name}_p": p}


if __name__ == "__main__":
    compact(Path(sys.argv[1]))
