"""Tests of one attack from its examples: before against after, and the attack against its budget-matched
random baseline (null).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zobench.metrics.intervals import Interval
from zobench.metrics.measures import GAP
from zobench.metrics.paired import mcnemar, paired_bootstrap_groups
from zobench.report.cells import Cell

RESAMPLES = 600
RightByExample = NDArray[np.bool_]


def tests_of(part: pd.DataFrame) -> Cell:
    """Intervals and p-values of one row, task and attack, from its examples."""
    kind, seeds = part["kind"].to_numpy(dtype=object), part["seed"].to_numpy()
    clean, final = (part[c].to_numpy(dtype=bool) for c in ("clean_correct", "final_correct"))
    empty: Cell = {
        "drop_ci": None,
        "lost": None,
        "p": None,
        "null_gap": None,
        "discordant": None,
        "p_null": None,
    }
    attacked = np.flatnonzero(kind == "attack")
    if not len(attacked):
        return empty
    before = _by_seed(seeds[attacked], clean[attacked], final[attacked])
    found = {
        **empty,
        "drop_ci": interval(seeds[attacked], _gap(clean[attacked], final[attacked])),
        "lost": sum(only for only, _, _ in before),
        "p": max(p for _, _, p in before),
    }
    keys = list(zip(seeds, part["example_id"], part["again"], strict=True))
    null = {keys[i]: final[i] for i in np.flatnonzero(kind == "null")}
    both = [i for i in attacked if keys[i] in null]
    if both:
        own, other = final[both], np.array([null[keys[i]] for i in both], dtype=bool)
        tests = _by_seed(seeds[both], other, own)
        found["null_gap"] = interval(seeds[both], _gap(other, own))
        found["discordant"] = (sum(t[0] for t in tests), sum(t[1] for t in tests))
        found["p_null"] = max(t[2] for t in tests)
    return found


def _by_seed(seeds: Any, a: RightByExample, b: RightByExample) -> list[tuple[int, int, float]]:
    """McNemar's test on the examples of each seed."""
    return [mcnemar(a[seeds == s].tolist(), b[seeds == s].tolist()) for s in np.unique(seeds)]


def _gap(a: RightByExample, b: RightByExample) -> NDArray[np.float64]:
    return a.astype(np.float64) - b.astype(np.float64)


def interval(seeds: Any, difference: Any) -> Interval:
    """Mean over examples of differences of two verdicts with its two-stage interval, cut at -1 and 1."""
    return two_stage(seeds, difference).cut(GAP)


def two_stage(seeds: Any, values: Any) -> Interval:
    """Mean over examples with its two-stage interval (seeds, then examples)."""
    of, numbers = np.asarray(seeds), np.asarray(values, dtype=float)
    return paired_bootstrap_groups([numbers[of == s] for s in np.unique(of)], resamples=RESAMPLES)
