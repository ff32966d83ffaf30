"""Tests of one attack from its examples: before against after, and the attack against its null."""

from __future__ import annotations

from typing import Any

import pandas as pd

from zobench.metrics.intervals import Interval
from zobench.metrics.paired import mcnemar, paired_bootstrap

RESAMPLES = 600
Cell = dict[str, Any]


def tests_of(part: pd.DataFrame) -> Cell:
    """Intervals and p-values of one row, task and attack from its examples."""
    attack, null = (part[part["kind"] == kind] for kind in ("attack", "null"))
    empty = {"drop_ci": None, "lost": None, "p": None, "null_gap": None, "discordant": None, "p_null": None}
    if attack.empty:
        return empty
    change = attack["clean_correct"].astype(float) - attack["final_correct"].astype(float)
    before = [mcnemar(g["clean_correct"], g["final_correct"]) for _, g in attack.groupby("seed")]
    found = {
        **empty,
        "drop_ci": interval(attack["seed"], change),
        "lost": sum(b for b, _, _ in before),
        "p": max(p for _, _, p in before),
    }
    both = attack.merge(null, on=["seed", "example_id", "again"], suffixes=("", "_null"))
    if len(both):
        gap = both["final_correct_null"].astype(float) - both["final_correct"].astype(float)
        tests = [mcnemar(g["final_correct_null"], g["final_correct"]) for _, g in both.groupby("seed")]
        found["null_gap"] = interval(both["seed"], gap)
        found["discordant"] = (sum(t[0] for t in tests), sum(t[1] for t in tests))
        found["p_null"] = max(t[2] for t in tests)
    return found


def interval(seeds: pd.Series, difference: pd.Series) -> Interval:
    """Mean over examples with its two-stage interval."""
    frame = pd.DataFrame({"seed": seeds.to_numpy(), "difference": difference.to_numpy(dtype=float)})
    return paired_bootstrap(frame, resamples=RESAMPLES)
