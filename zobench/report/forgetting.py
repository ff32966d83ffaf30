"""Results of an unlearning study: how much of the forgotten knowledge probes recover.

Recovery rate: s = (m - m_oracle) / (m_full - m_oracle) of the forget score m after a probe, relative to the
oracle and the full model after the same probe with the same seed: 0 for a model that never knew the facts, 1
for one that was never unlearned. It is missing if the two reference models differ by less than
``SMALLEST_SPAN``. A run's score is its worst case: the highest recovery rate over all probes, strengths and
settings.

The three comparisons differ in the model that is probed (column ``split``): the final state, and the points
on the line back to the original model with equal forgetting and with equal retention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zobench.names import json_value
from zobench.report import comparability
from zobench.report.leaderboard import Leaderboard
from zobench.report.ranking import Ranking, rank
from zobench.report.source import Source

SMALLEST_SPAN = 0.1
"""In units of the forget score, between 0 and 1. A probe that destroys the full model as well (for instance
quantization to two bits) is uninformative, because the recovery rate would divide noise by noise."""
MEASURES = {
    "forget_value_accuracy": "Values right",
    "forget_choice_accuracy": "Choices right",
    "forget_open_accuracy": "Open answers right",
    "forget_rouge_l_recall": "ROUGE-L recall",
    "forget_exact_memorization": "Exact memorization",
    "forget_extraction_strength": "Extraction strength",
    "forget_verbmem": "VerbMem",
    "forget_knowmem": "KnowMem",
    "retain_knowmem": "KnowMem, retained",
    "utility": "Model utility",
}
"""Clean scores between 0 and 1 that are shown with the forget score, in this order, if measured."""
KIND = "unlearning"
REFERENCES = ("full", "oracle")
SPLITS = {
    "test": (
        "Equal forward passes",
        "The final model of each row: the first that forgot as much as the oracle, or the one at the end of "
        "the budget.",
    ),
    "matched-retain": (
        "Matched retention",
        "Every model is moved back towards the original until it keeps the same share of the retained facts.",
    ),
    "matched-forget": (
        "Matched forgetting",
        "Every model is moved back towards the original until all have forgotten equally much. Rows that "
        "never forgot as much cannot be matched and are not ranked.",
    ),
}
_SAME_PROBE = ["block", "seed", "condition", "strength", "params"]


def is_unlearning(source: Source) -> bool:
    """Whether all result runs are unlearning runs."""
    return all_of_kind(source, KIND)


def all_of_kind(source: Source, kind: str) -> bool:
    """Whether all result runs are on tasks of this kind."""
    return set(source.results["task_kind"].dropna()) == {kind}


def roles(runs: pd.DataFrame) -> pd.Series:
    """``unlearn``, ``full``, ``oracle`` or ``noise`` by run id, from the runs' specifications."""
    found = {
        run_id: (json_value(spec).get("unlearning") or {}).get("role", "")
        for run_id, spec in runs[["run_id", "spec"]].itertuples(index=False)
    }
    return pd.Series(found, dtype=object)


def probed(source: Source) -> pd.DataFrame:
    """One record per run, split, probe and setting: ``value`` (forget score), ``retained``, ``full``,
    ``oracle``, ``s``, ``role``."""
    finals = source.finals[
        (source.finals["purpose"] != "tuning") & (source.finals["condition_kind"] == "probe")
    ]
    finals = finals.assign(params=finals["params"].fillna("{}"))
    keys = ["run_id", "row", "group", "split", *_SAME_PROBE]
    forget = finals[finals["metric"] == finals["primary_metric"]][[*keys, "value"]]
    kept = finals[finals["metric"] == "retained"][[*keys, "value"]].rename(columns={"value": "retained"})
    frame = forget.merge(kept, on=keys, how="left")
    frame["role"] = frame["run_id"].map(roles(source.results))
    for name in REFERENCES:
        mine = frame[(frame["role"] == name) & (frame["split"] == "test")]
        mean = mine.groupby(_SAME_PROBE)["value"].mean().rename(name).reset_index()
        frame = frame.merge(mean, on=_SAME_PROBE, how="left")
    span = frame["full"] - frame["oracle"]
    frame["s"] = ((frame["value"] - frame["oracle"]) / span).where(span.abs() >= SMALLEST_SPAN)
    return frame


def of_split(frame: pd.DataFrame, split: str) -> pd.DataFrame:
    """Records of one comparison; those of the reference models are the same in all comparisons."""
    return frame[(frame["split"] == split) | frame["role"].isin(REFERENCES)]


def run_scores(source: Source, split: str) -> pd.DataFrame:
    """The worst case of every run: ``value`` and ``flag`` by run id."""
    value = of_split(probed(source), split).groupby("run_id")["s"].max()
    return pd.DataFrame({"value": value, "flag": ""})


@dataclass(frozen=True, slots=True)
class ForgettingComparison:
    """One way to make the rows comparable, ranked."""

    split: str
    title: str
    text: str
    ranking: Ranking


def compare(source: Source, runs: pd.DataFrame, board: Leaderboard) -> list[ForgettingComparison]:
    """The comparisons that the runs allow; rows that lack some of their runs are not ranked, with reasons."""
    frame, found = probed(source), []
    for split, (title, text) in SPLITS.items():
        part = of_split(frame, split)
        if part.empty or not (part["role"] == "unlearn").any():
            continue
        value = part.groupby("run_id")["s"].max()
        mine = runs.assign(value=runs["run_id"].map(value), flag="")
        mine["usable"] = np.isfinite(mine["value"].astype(float))
        lacking = comparability.not_comparable(mine[mine["group"] == "method"], board)
        for row, group in mine[mine["group"] == "method"].groupby("row"):
            if not group["usable"].all():
                lacking[str(row)] = [f"{int(group['usable'].sum())} of {len(group)} runs forgot as much"]
        found.append(ForgettingComparison(split, title, text, rank(mine, board, lacking)))
    return found


def by_probe(frame: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    """Lines of the table of probes: for each row and probe the mean over runs of the worst recovery rate and
    of the lowest retained score."""
    part = of_split(frame, split)
    worst = part.groupby(["row", "group", "condition", "run_id"]).agg(
        s=("s", "max"), kept=("retained", "min")
    )
    mean = worst.groupby(["row", "group", "condition"]).agg(
        s=("s", "mean"), kept=("kept", "mean"), runs=("s", "size")
    )
    lines: dict[str, dict[str, Any]] = {}
    for row, group, condition, worst_s, kept, runs in mean.reset_index().itertuples(index=False, name=None):
        line = lines.setdefault(str(row), {"row": str(row), "group": str(group), "cells": {}, "runs": 0})
        line["cells"][str(condition)] = (_number(worst_s), _number(kept))
        line["runs"] = max(line["runs"], int(runs))
    return sorted(lines.values(), key=lambda x: (x["group"] != "method", x["row"]))


def training_curves(frame: pd.DataFrame, split: str) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Recovery rate against steps for probes that train (their settings include a learning rate): probe ->
    row -> points. Each is the mean over runs for the worst learning rate of each run."""
    part = of_split(frame, split)
    part = part[part["params"].str.contains('"lr"')]
    worst = part.groupby(["condition", "row", "strength", "run_id"])["s"].max()
    mean = worst.groupby(["condition", "row", "strength"]).mean().dropna().reset_index()
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for condition, row, strength, value in mean.itertuples(index=False, name=None):
        found.setdefault(str(condition), {}).setdefault(str(row), []).append((float(strength), float(value)))
    return found


def by_measure(source: Source, runs: pd.DataFrame) -> dict[str, Any]:
    """Other measures of the same models before any probe: ``names`` of the measures, and in ``lines`` their
    means over the runs of each row."""
    finals = source.finals[(source.finals["condition_kind"] == "clean") & (source.finals["split"] == "test")]
    taken = finals[finals["metric"].isin(MEASURES) & finals["run_id"].isin(runs["run_id"])]
    names = [name for name in MEASURES if (taken["metric"] == name).any()]
    lines = []
    for (group, row), own in taken.groupby(["group", "row"]):
        mean = own.groupby("metric")["value"].mean()
        lines.append({"row": row, "group": group, "values": [_number(mean.get(name)) for name in names]})
    ordered = sorted(lines, key=lambda x: (x["group"] != "method", x["row"]))
    return {"names": [MEASURES[name] for name in names], "lines": ordered}


def costs(source: Source, runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean cost of a run by row: forward and backward passes, seconds, peak memory; also the distance moved
    and whether the oracle's level was reached."""
    finals = source.finals[(source.finals["condition_kind"] == "clean") & (source.finals["split"] == "test")]
    wide = finals[finals["metric"].isin(("backwards", "distance", "reached", "privleak"))]
    wide = wide.pivot_table(index="run_id", columns="metric", values="value", aggfunc="mean")
    wide["moved"] = _in_steps(source.finals)
    joined = runs.merge(wide, left_on="run_id", right_index=True, how="left")
    names = ["forwards", "backwards", "train_seconds", "peak_memory_bytes"]
    names += ["distance", "moved", "reached", "privleak"]
    for name in names:
        joined[name] = pd.to_numeric(joined[name], errors="coerce") if name in joined else np.nan
    mean = joined.groupby(["group", "row"])[names].mean().reset_index()
    lines = []
    for r in mean.to_dict("records"):
        line = {"row": r["row"], "group": r["group"], **{n: _number(r[n]) for n in names}}
        if r["group"] == "control":
            line["reached"] = None  # baselines have no stop rule
        lines.append(line)
    return sorted(lines, key=lambda x: (x["group"] != "method", x["row"]))


def _in_steps(finals: pd.DataFrame) -> pd.Series:
    """By run id: median |dW| of the final model in steps of 4-bit quantization, the mean over groupings. Only
    quantization probes that know the original model measure it."""
    bits = finals["params"].fillna("").str.contains(r'"bits": 4\b', regex=True)
    mine = finals[bits & (finals["metric"] == "moved_steps") & (finals["split"] == "test")]
    return mine.groupby("run_id")["value"].mean()


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
