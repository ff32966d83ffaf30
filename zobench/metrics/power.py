"""Number of seeds that a claim needs: power of the stratified paired t test, from the observed differences.

With V = sum_t s_t^2 / T^2 (variance of the mean over T tasks with one seed each) and n seeds per task, the
test statistic is noncentral t with noncentrality |d| sqrt(n / V) and Satterthwaite degrees of freedom. A
plan from observed differences is as uncertain as these are: it is only a guide, and the page says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from zobench.metrics.arrays import Floats, settled, variance


@dataclass(frozen=True, slots=True)
class Power:
    """Power with the current ``seeds`` per task, and the number of additional seeds, ``more``, for the power
    ``target`` (``None``: more than ``limit``).
    """

    power: float
    seeds: int
    more: int | None
    target: float
    limit: int


def paired_power(
    difference: float, variances: Sequence[float] | Floats, seeds: int, alpha: float = 0.05
) -> float:
    """Probability that the two-sided test at alpha finds ``difference`` with ``seeds`` per task.

    ``variances`` are the variances of a single paired difference, one per task.
    """
    v = np.asarray(variances, dtype=float)
    if seeds < 2:
        return 0.0
    total = v.sum()
    if total <= 0:
        return 1.0 if difference else alpha
    df = (seeds - 1) * total**2 / (v**2).sum()
    noncentrality = abs(difference) * len(v) * np.sqrt(seeds / total)
    critical = special.stdtrit(df, 1 - alpha / 2)
    upper = 1.0 - special.nctdtr(df, noncentrality, critical)
    lower = special.nctdtr(df, noncentrality, -critical)
    return float(np.clip(np.nan_to_num(upper, nan=1.0) + np.nan_to_num(lower), 0.0, 1.0))


def seeds_to_separate(
    groups: Sequence[Floats], *, alpha: float = 0.05, target: float = 0.8, limit: int = 1000
) -> Power:
    """Seeds per task that would separate two methods whose true difference is the one observed.

    ``groups``: the paired differences of each task. ``alpha``: the level of the test of this pair; divided by
    the number of pairs it gives a conservative (Bonferroni) plan for Holm's correction.
    """
    arrays = [settled(g) for g in groups]
    if not arrays or min(len(g) for g in arrays) < 2:
        raise ValueError("a power estimate needs at least two common seeds on every task")
    seeds = min(len(g) for g in arrays)
    difference = float(np.mean([g.mean() for g in arrays]))
    variances = np.array([variance(g) for g in arrays])
    now = paired_power(difference, variances, seeds, alpha)
    if now >= target:
        return Power(now, seeds, 0, target, limit)
    if paired_power(difference, variances, limit, alpha) < target:
        return Power(now, seeds, None, target, limit)
    low, high = seeds, limit
    while high - low > 1:
        middle = (low + high) // 2
        if paired_power(difference, variances, middle, alpha) >= target:
            high = middle
        else:
            low = middle
    return Power(now, seeds, high - seeds, target, limit)
