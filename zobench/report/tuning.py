"""The search behind a row: every trial with its validation score, sensitivity, and flags for a search cut
short.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from zobench.report.source import Source


def collect(source: Source) -> list[dict[str, Any]]:
    """One entry per tuned row: trials best first, the parameters that varied, flags, forwards spent."""
    runs = source.runs[source.runs["purpose"] == "tuning"]
    if runs.empty:
        return []
    finals = source.finals
    scores = finals[
        (finals["purpose"] == "tuning")
        & (finals["metric"] == finals["primary_metric"])
        & (finals["condition_kind"] == "clean")
        & (finals["split"] == "validation")
    ]
    runs = runs.assign(score=runs["run_id"].map(scores.groupby("run_id")["value"].mean()))
    runs["target"] = runs["tuning_of"].fillna(runs["row"])
    return [_row(str(name), group) for name, group in runs.groupby("target", sort=True)]


def _row(name: str, runs: pd.DataFrame) -> dict[str, Any]:
    trials: list[dict[str, Any]] = []
    for params, group in runs.groupby(runs["method_params"].fillna("{}"), sort=False):
        scores = group["score"].dropna().to_numpy(dtype=float)
        trials.append(
            {
                "params": _params(str(params)),
                "mean": float(scores.mean()) if len(scores) else None,
                "sd": float(scores.std(ddof=1)) if len(scores) > 1 else None,
                "n": len(scores),
                "lost": len(group) - len(scores),
                "forwards": int(group["forwards"].fillna(0).sum()),
            }
        )
    trials.sort(
        key=lambda t: (t["mean"] is None, -(t["mean"] or 0.0), json.dumps(t["params"], sort_keys=True))
    )
    names = sorted({k for t in trials for k in t["params"]})
    varied = [k for k in names if len({json.dumps(t["params"].get(k)) for t in trials}) > 1]
    return {
        "row": name,
        "varied": varied,
        "trials": trials,
        "flags": flags(trials, varied),
        "forwards": sum(t["forwards"] for t in trials),
    }


def flags(trials: list[dict[str, Any]], varied: list[str]) -> list[str]:
    """Reasons to doubt the choice: best value on the edge of its range, or a lead smaller than its noise."""
    scored = [t for t in trials if t["mean"] is not None]
    if not scored:
        return ["no trial has a validation score"]
    best, told = scored[0], []
    for key in varied:
        values = sorted({t["params"][key] for t in trials if isinstance(t["params"].get(key), int | float)})
        if len(values) > 1 and best["params"].get(key) in (values[0], values[-1]):
            side = "lower" if best["params"][key] == values[0] else "upper"
            told.append(f"best {key} = {best['params'][key]:g} lies on the {side} edge of its search range")
    if len(scored) > 1:
        first, second = scored[:2]
        noise = np.hypot(_stderr(first), _stderr(second))
        if noise == noise and first["mean"] - second["mean"] < noise:
            told.append("the two best trials differ by less than their standard error")
    return told


def _stderr(trial: dict[str, Any]) -> float:
    return float("nan") if trial["sd"] is None else trial["sd"] / np.sqrt(trial["n"])


def _params(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except json.JSONDecodeError:
        return {"parameters": text}
    return body if isinstance(body, dict) else {"parameters": text}
