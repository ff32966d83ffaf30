"""Computes the score of each run for a leaderboard, with its rules for missed targets and divergence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from zobench.metrics.curves import TimeToTarget, time_to_target
from zobench.metrics.measures import higher_is_better
from zobench.names import nearest
from zobench.report import forgetting, provenance
from zobench.report.cards import Cards, attack_name
from zobench.report.leaderboard import Leaderboard, Score
from zobench.report.source import Source, seed_curves
from zobench.store.schema import RUNS

RESULTS = ("done", "diverged", "budget")


def score_runs(source: Source, board: Leaderboard) -> pd.DataFrame:
    """The result runs with columns ``value``, ``usable``, ``flag`` (set if the value is not the measured one,
    or was measured by an earlier revision)."""
    runs = source.results.copy()
    for column, allowed in board.where.items():
        runs = runs[runs[column].isin(allowed)]
    values = _values(source, runs, board)
    runs["value"] = runs["run_id"].map(values["value"])
    runs["flag"] = runs["run_id"].map(values["flag"]).fillna("")
    lost = (runs["status"] == "diverged") & runs["value"].isna()
    counted = (
        board.score.source == "metric" and board.score.metric == "primary" and board.score.kind == "clean"
    )
    # If lower is better, chance may be the best value: a diverged run must not benefit from it.
    if board.diverged == "chance" and counted and board.higher:
        fill = lost & runs["chance"].notna()
        runs.loc[fill, "value"] = runs.loc[fill, "chance"]
        runs.loc[fill, "flag"] = "diverged: counted as chance"
    told = zip(runs["flag"], provenance.made_by(runs), strict=True)
    runs["flag"] = ["; ".join(filter(None, pair)) for pair in told]
    runs["usable"] = (
        runs["status"].isin(RESULTS) & runs["value"].notna() & np.isfinite(runs["value"].astype(float))
    )
    return runs


def _values(source: Source, runs: pd.DataFrame, board: Leaderboard) -> pd.DataFrame:
    score = board.score
    if score.source == "metric":
        return final_metric(source, score, board.higher)
    if score.source == "diagnostic":
        return readings(source, runs, score)
    if score.source == "forgetting":
        return forgetting.run_scores(source, score.split)
    if score.source == "run":
        numbers = [f.name for f in RUNS if f.type not in (pa.string(), pa.bool_())]
        if score.metric not in numbers:
            what = "is no number" if score.metric in RUNS.names else "is no column of the runs table"
            raise ValueError(
                f"leaderboard {board.name!r}: score.metric: {score.metric!r} {what}"
                f"{nearest(score.metric, numbers)}"
            )
        frame = runs.set_index("run_id")[[score.metric]].rename(columns={score.metric: "value"}).astype(float)
        return frame.assign(flag="")
    return times_to_target(source, runs, board)


def _counts(source: Source, chosen: pd.DataFrame, score: Score) -> list[bool]:
    """Which of these attack records count, by the catalogue name of their attack and by its card."""
    if not (score.without or score.keeps_answer):
        return [True] * len(chosen)
    cards, told = Cards(source), []
    for run, condition, params in chosen[["run_id", "condition", "params"]].itertuples(
        index=False, name=None
    ):
        name = attack_name(condition, params)
        kept = not score.keeps_answer or cards.of(run, condition, name).keeps_answer
        told.append(kept and name not in score.without)
    return told


def final_metric(source: Source, score: Score, higher: bool) -> pd.DataFrame:
    """One final value per run: the score's metric, reduced over the score's conditions."""
    rows = source.finals[source.finals["purpose"] != "tuning"]
    wanted = rows["primary_metric"] if score.metric == "primary" else score.metric
    rows = rows[(rows["metric"] == wanted) & (rows["split"] == score.split)]
    chosen = rows[rows["condition_kind"] == score.kind]
    if score.condition:
        chosen = chosen[chosen["condition"] == score.condition]
    if len(chosen):
        chosen = chosen[_counts(source, chosen, score)]
    by = ["run_id", "condition", "params"] if score.kind != "clean" else ["run_id"]
    chosen = chosen.fillna({"params": ""})
    values = chosen.groupby(by, sort=False)["value"].mean()
    if score.net:
        null = (
            rows[rows["condition_kind"] == "null"]
            .fillna({"params": ""})
            .groupby(by, sort=False)["value"]
            .mean()
        )
        values = (values - null).dropna()
    grouped = values.groupby(level="run_id")
    if score.reduce == "worst":
        value = grouped.min() if higher else grouped.max()
    else:
        value = grouped.mean()
    return pd.DataFrame({"value": value, "flag": ""})


def readings(source: Source, runs: pd.DataFrame, score: Score) -> pd.DataFrame:
    """Mean of a diagnostic's finite readings of each run, divided by the root of the forward passes per step
    if ``per_root_forward``."""
    found = source.connection.execute(
        "select run_id, avg(value) as value from metrics "
        "where condition_kind = 'diagnostic' and metric = ? and isfinite(value) group by run_id",
        [score.metric],
    ).df()
    value = found.set_index("run_id")["value"]
    if score.per_root_forward:
        spent = runs.set_index("run_id")[["forwards", "steps"]].astype(float)
        value = value / np.sqrt((spent["forwards"] / spent["steps"]).reindex(value.index))
    return pd.DataFrame({"value": value, "flag": ""})


@dataclass(frozen=True, slots=True)
class Target:
    """A target value of a block's primary metric; ``higher``: whether larger values meet it."""

    value: float
    higher: bool


def targets(curves: pd.DataFrame, runs: pd.DataFrame, board: Leaderboard) -> dict[str, Target]:
    """Target by block: the given one, or nine tenths of the way to the best row's final mean.

    The way starts at chance or, if lower is better, at the mean of the first measurements: chance is not a
    meaningful start for a loss, and in unlearning it is the goal.
    """
    given, higher = board.score.target, directions(curves, board)
    if given is not None:
        return {b: Target(given, up) for b, up in higher.items()}
    methods = set(runs.loc[runs["group"] == "method", "row"])
    by_run = curves[curves["row"].isin(methods)].sort_values("forwards", kind="stable").groupby("run_id")
    start = by_run.head(1).groupby("block")["value"].mean()
    final = by_run.tail(1).groupby(["block", "row"])["value"].mean().groupby("block").agg(["min", "max"])
    chance = runs.groupby("block")["chance"].first().fillna(0.0)
    found = {}
    for block, (least, most) in zip(final.index, final.itertuples(index=False), strict=True):
        up = higher[str(block)]
        origin, best = (float(chance.get(block, 0.0)), most) if up else (float(start[block]), least)
        found[str(block)] = Target(float(origin + 0.9 * (best - origin)), up)
    return found


def directions(curves: pd.DataFrame, board: Leaderboard) -> dict[str, bool]:
    """By block, whether higher values of its primary metric are better: from the leaderboard if it ranks that
    metric, otherwise from the metric's name."""
    score = board.score
    ranked = score.source == "metric" and score.metric == "primary" and score.kind == "clean"
    metric = curves.groupby("block")["metric"].first()
    return {str(b): board.higher if ranked else higher_is_better(str(m)) for b, m in metric.items()}


def times_to_target(source: Source, runs: pd.DataFrame, board: Leaderboard) -> pd.DataFrame:
    """Budget at which each run met the target. Runs that missed it get their last budget and a flag."""
    axis = board.score.source.removesuffix("_to_target")
    curves = seed_curves(source)
    goal = targets(curves, runs, board)
    found: dict[str, TimeToTarget] = {}
    for run_id, group in curves.groupby("run_id", sort=False):
        target = goal.get(str(group["block"].iloc[0]))
        if target is not None:
            x, y = group[axis].tolist(), group["value"].tolist()
            found[str(run_id)] = time_to_target(x, y, target.value, higher=target.higher)
    spent = runs.set_index("run_id")["budget_forwards"].fillna(0)
    return pd.DataFrame(
        {
            "value": {k: t.time if t.reached or spent.get(k, 0) else np.nan for k, t in found.items()},
            "flag": {k: "" if t.reached else "target not reached" for k, t in found.items()},
        }
    )
