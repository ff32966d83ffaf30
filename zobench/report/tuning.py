"""The tuning of a row: trials with their validation scores, sensitivity, and flags for insufficient searches.

A row is tuned separately on every task, so there is one entry per row and task. Trials show the metric that
the search used, which may differ from the primary metric. With successive halving a setting is listed once
for every budget at which it was tried, and only settings at the largest budget can be selected."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from zobench.metrics.arrays import comparable, settled, variance
from zobench.metrics.measures import bounds, higher_is_better
from zobench.names import json_value
from zobench.report.source import Source

SELECTION = "selection_score"
"""Default metric of tuning in unlearning, used for searches whose results do not record the metric."""


def collect(source: Source) -> list[dict[str, Any]]:
    """One entry per tuned row and task: trials, best first, the parameters that varied, flags, forward passes
    spent."""
    runs = source.runs[source.runs["purpose"] == "tuning"]
    if runs.empty:
        return []
    finals = source.finals
    scores = finals[
        (finals["purpose"] == "tuning")
        & (finals["condition_kind"] == "clean")
        & (finals["split"] == "validation")
    ]
    values = scores.groupby(["metric", "run_id"])["value"].mean()
    runs = runs.assign(target=runs["tuning_of"].fillna(runs["row"]))
    asked, found = _asked(source.results), []
    for (row, label), group in runs.groupby(["target", "label"], sort=True):
        usual = SELECTION if (SELECTION, group["run_id"].iloc[0]) in values.index else None
        metric, goal = asked.get((str(row), str(label)), (usual, None))
        names = group["primary_metric"] if metric is None else pd.Series(metric, index=group.index)
        keys = pd.MultiIndex.from_arrays([names, group["run_id"]])
        mine = group.assign(score=values.reindex(keys).to_numpy())
        goal = goal or ("max" if higher_is_better(str(names.iloc[0])) else "min")
        found.append(_row(str(row), str(label), mine, metric, goal))
    ran = set(zip(source.results["row"], source.results["label"], strict=True))
    for one in found:
        if (one["row"], one["task"]) not in ran:
            one["flags"].append("searched, but without a run")
    return sorted(found, key=lambda one: (one["row"], one["task"]) not in ran)


def _asked(results: pd.DataFrame) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Metric (``None``: the primary one) and goal of the search of a row on a task, as recorded by its
    runs."""
    found: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    first = results[["row", "label", "environment"]].drop_duplicates(["row", "label"])
    for row, label, text in first.itertuples(index=False):
        search = _params(str(text)).get("tuning")
        if isinstance(search, dict) and search:
            found[str(row), str(label)] = (
                search.get("metric"),
                "min" if search.get("goal") == "min" else "max",
            )
    return found


def _row(name: str, label: str, runs: pd.DataFrame, metric: str | None, goal: str) -> dict[str, Any]:
    trials: list[dict[str, Any]] = []
    runs = runs.assign(params=runs["method_params"].fillna("{}"), budget=runs["budget_forwards"].fillna(0))
    for (params, budget), group in runs.groupby(["params", "budget"], sort=False):
        scores = group.dropna(subset="score").set_index("seed")["score"]
        trials.append(
            {
                "params": _params(str(params)),
                "budget": int(float(str(budget))),
                "mean": float(scores.mean()) if len(scores) else None,
                "sd": float(scores.std(ddof=1)) if len(scores) > 1 else None,
                "seeds": {str(s): float(v) for s, v in scores.items()},
                "n": len(scores),
                "lost": len(group) - len(scores),
                "forwards": int(group["forwards"].fillna(0).sum()),
            }
        )
    trials.sort(
        key=lambda t: (
            -t["budget"],
            t["mean"] is None or t["lost"] > 0,
            (1 if goal == "min" else -1) * comparable(t["mean"] or 0.0),
            json.dumps(t["params"], sort_keys=True),
        )
    )
    names = sorted({k for t in trials for k in t["params"]})
    varied = [k for k in names if len({json.dumps(t["params"].get(k)) for t in trials}) > 1]
    return {
        "row": name,
        "task": label,
        "metric": metric,
        "goal": goal,
        "share": bounds(metric or str(runs["primary_metric"].iloc[0])) is not None,
        "rungs": len({t["budget"] for t in trials}),
        "varied": varied,
        "trials": trials,
        "flags": flags(trials, varied),
        "forwards": sum(t["forwards"] for t in trials),
    }


def flags(trials: list[dict[str, Any]], varied: list[str]) -> list[str]:
    """Reasons to doubt the selection: the best value is on the edge of its range, or its lead is smaller than
    one standard error of the paired difference over the tuning seeds (as in the selection itself)."""
    whole = max((t["budget"] for t in trials), default=0)
    scored = [t for t in trials if t["mean"] is not None and not t["lost"] and t["budget"] == whole]
    if not scored:
        return ["no trial has a validation score on every seed"]
    best, told = scored[0], []
    for key in varied:
        given = [t["params"].get(key) for t in trials]
        values = sorted({v for v in given if isinstance(v, int | float) and not isinstance(v, bool)})
        chosen = best["params"].get(key)
        if len(values) > 1 and chosen in (values[0], values[-1]) and not isinstance(chosen, bool):
            side = "lower" if best["params"][key] == values[0] else "upper"
            told.append(f"best {key} = {best['params'][key]:g} lies on the {side} edge of its search range")
    if len(scored) > 1 and within_noise(best["seeds"], scored[1]["seeds"]):
        told.append("the two best trials differ by less than their standard error")
    return told


def within_noise(first: dict[str, float], second: dict[str, float]) -> bool:
    """Whether the mean paired difference is at most its standard error; never with fewer than two seeds."""
    differences = settled(np.array([first[s] - second[s] for s in sorted(set(first) & set(second))]))
    if len(differences) < 2:
        return False
    return bool(abs(differences.mean()) <= np.sqrt(variance(differences) / len(differences)))


def _params(text: str) -> dict[str, Any]:
    try:
        body = json_value(text)
    except json.JSONDecodeError:
        return {"parameters": text}
    return body if isinstance(body, dict) else {"parameters": text}
