"""How fast rows get there: time to target with censoring, area under the curve, and the two profiles.

A target is set per task (see :func:`zobench.report.scores.targets`): the leaderboard's own, or nine tenths of
the way to the best row's final mean. A run that never meets it is censored at its last
measurement, never dropped and never given a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zobench.metrics.curves import TimeToTarget, area_under_curve, median_time, restricted_mean_time
from zobench.metrics.curves import time_to_target as first_met
from zobench.metrics.intervals import Interval, exact_shares, stratified_groups
from zobench.metrics.measures import SHARE, bounds
from zobench.metrics.ranking import performance_profile, ratio_profile
from zobench.report.ranking import Ranking
from zobench.report.scores import Target, targets
from zobench.report.source import Source, seed_curves

AXES = ("forwards", "tokens", "seconds", "generated_tokens")
MOST_ROWS = 40
RATIOS = tuple(float(f"{r:.3g}") for r in np.geomspace(1, 20, 40))
THRESHOLDS = 61


@dataclass(frozen=True, slots=True)
class Reached:
    """Results of one row with respect to the targets, over all its runs and tasks.

    Attributes:
        reached, runs: number of runs that met their task's target, and of all runs with a curve.
        median: Kaplan-Meier median by axis; infinite if fewer than half of the runs met the target.
        restricted: mean forward passes, where runs that missed the target count as the smallest budget of the
            row's runs: a lower bound.
        area: mean height of the test curves up to the budget, with its interval over seeds; ``None`` without
            curves.
    """

    row: str
    reached: int
    runs: int
    median: dict[str, float]
    restricted: float
    area: Interval | None


@dataclass(frozen=True, slots=True)
class Reaching:
    """``targets`` by block; ``rows`` in the order of the ranking; ``times`` to target in forward passes by
    block and seed (index) and row (columns), infinite if the target was missed."""

    targets: dict[str, Target]
    rows: tuple[Reached, ...]
    times: pd.DataFrame
    share: bool = False
    """Whether all curves are of shares, which are shown in percent."""


def collect(source: Source, ranking: Ranking, runs: pd.DataFrame) -> Reaching:
    """Results of every row with test curves of more than one point."""
    names = [s.row for s in ranking.standings][:MOST_ROWS]
    trained = runs[(runs["budget_forwards"].fillna(0) > 0) & runs["row"].isin(names)]
    curves = seed_curves(source)
    goal = targets(curves, runs, ranking.board) if len(curves) else {}
    curves = curves[curves["run_id"].isin(trained["run_id"])]
    found: dict[str, list[dict[str, Any]]] = {}
    for about in _runs(curves, goal):
        found.setdefault(about["row"], []).append(about)
    rows = tuple(_row(name, found[name]) for name in names if name in found)
    flat = [r for name in names for r in found.get(name, [])]
    share = bool(len(curves)) and {bounds(m) for m in curves["metric"].unique()} == {SHARE}
    return Reaching(goal, rows, _times(flat), share)


def _runs(curves: pd.DataFrame, goal: dict[str, Target]) -> Iterator[dict[str, Any]]:
    """Every run with a curve: its first point at the target on every axis, and its area. ``curves`` come run
    by run in order of forwards."""
    ids = curves["run_id"].to_numpy(dtype=object)
    rows, blocks, seeds, metrics = (
        curves[c].to_numpy(dtype=object) for c in ("row", "block", "seed", "metric")
    )
    values = curves["value"].to_numpy(dtype=float)
    axes = {a: curves[a].to_numpy(dtype=float, na_value=np.nan) for a in AXES}
    starts = [i for i in range(len(ids)) if i == 0 or ids[i - 1] != ids[i]]
    for start, stop in zip(starts, [*starts[1:], len(ids)][: len(starts)], strict=True):
        x, y = axes["forwards"][start:stop], values[start:stop]
        block = str(blocks[start])
        if len(y) < 2 or block not in goal or x[-1] <= x[0] or not np.isfinite(y).all():
            continue
        met = first_met(x.tolist(), y.tolist(), goal[block].value, higher=goal[block].higher)
        at = start + int(np.searchsorted(x, met.time))
        yield {
            "row": str(rows[start]),
            "block": block,
            "seed": int(seeds[start]),
            "metric": str(metrics[start]),
            "times": {a: TimeToTarget(float(axes[a][at]), met.reached) for a in AXES},
            "area": area_under_curve(x.tolist(), y.tolist()),
            "last": float(x[-1]),
        }


def _row(name: str, runs: Sequence[dict[str, Any]]) -> Reached:
    by_axis = {a: [r["times"][a] for r in runs] for a in AXES}
    limit = min(r["last"] for r in runs)
    areas: dict[str, list[float]] = {}
    metrics = {r["metric"] for r in runs}
    known = bounds(metrics.pop()) if len(metrics) == 1 else None
    for r in runs:
        areas.setdefault(r["block"], []).append(r["area"])
    return Reached(
        row=name,
        reached=sum(t.reached for t in by_axis["forwards"]),
        runs=len(runs),
        median={a: median_time(t) if all(map(_known, t)) else math.nan for a, t in by_axis.items()},
        restricted=restricted_mean_time(by_axis["forwards"], limit),
        area=stratified_groups([np.array(areas[b]) for b in sorted(areas)]).within(known),
    )


def _known(time: TimeToTarget) -> bool:
    return time.time == time.time


def _times(runs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Times on the blocks and seeds that all rows with curves have; empty if there are none."""
    if not runs:
        return pd.DataFrame()
    frame = pd.DataFrame(
        [(r["block"], r["seed"], r["row"], _finite_or_missed(r["times"]["forwards"])) for r in runs],
        columns=["block", "seed", "row", "time"],
    )
    return frame.pivot_table(index=["block", "seed"], columns="row", values="time", dropna=False).dropna()


def _finite_or_missed(time: TimeToTarget) -> float:
    return max(time.time, 1.0) if time.reached else math.inf


def profiles(reaching: Reaching, ranking: Ranking) -> dict[str, Any]:
    """Both profiles of the ranked rows for the scripts: index of the row, shares, ends of their band.

    ``scores``: share of a row's runs with a better score than each threshold. ``reach``: share of (task,
    seed) on which a row needs at most so many times the forward passes of the fastest row (Dolan and More).
    Bands are pointwise, with 95 % confidence (:func:`zobench.metrics.intervals.exact_shares`).
    """
    names = [s.row for s in ranking.standings]
    ranked = [s.row for s in ranking.ranked][:MOST_ROWS]
    sign = 1.0 if ranking.board.higher else -1.0
    every = [np.concatenate([*ranking.values[r].values()]) for r in ranked if r in ranking.values]
    out: dict[str, Any] = {"thresholds": [], "scores": [], "ratios": list(RATIOS), "reach": []}
    if every:
        low, high = min(v.min() for v in every), max(v.max() for v in every)
        pad = 0.02 * ((high - low) or 1.0)
        at = np.linspace(low - pad, high + pad, THRESHOLDS)
        out["thresholds"] = [float(f"{t:.5g}") for t in at]
        for name, values in zip(ranked, every, strict=True):
            share = performance_profile(sign * values, sign * at)
            out["scores"].append([names.index(name), *_banded(share, len(values))])
    shown = [r for r in ranked if r in reaching.times.columns]
    if len(shown) > 1 and len(reaching.times):
        table = ratio_profile(reaching.times[shown], RATIOS)
        out["reach"] = [[names.index(r), *_banded(table[r], len(reaching.times))] for r in shown]
    return out


def _banded(shares: Any, n: int) -> list[list[float]]:
    """Shares and the ends of their bands, in steps of 0.0001."""
    values = np.asarray(shares, dtype=float)
    return [[round(float(s), 4) for s in line] for line in (values, *exact_shares(values, n))]


def spoken_targets(reaching: Reaching, labels: dict[str, str], most: int = 6) -> str:
    """``sentiment 95.0 %, facts 6.1 % or less``: the metric's value that counts as reached, by task."""
    told = [
        f"{labels.get(b, b)} {f'{100 * t.value:.1f} %' if reaching.share else f'{t.value:.3f}'}"
        + ("" if t.higher else " or less")
        for b, t in sorted(reaching.targets.items())
    ]
    return ", ".join(told[:most]) + (f" and {len(told) - most} more tasks" if len(told) > most else "")
