"""Comparisons of two methods on common seeds and common examples.

Differences are taken within (task, seed), where both methods saw the same data, so that the variance due to
the seed cancels. The unit of each test is a run (``compare``, ``permutation``), an example of one pair of
runs (``mcnemar``), or both in two stages (``paired_bootstrap_groups``). Conventions: a difference is a - b;
p-values are two-sided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from zobench.metrics.arrays import Floats, settled, variance
from zobench.metrics.intervals import Interval, stratified_error, stratified_groups

EXACT_PAIRS = 12
ENTRIES_AT_ONCE = 4_000_000
"""Largest number of examples that a bootstrap draws at once; if more are needed, it draws seed by seed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of two methods, a minus b, over the runs that they have in common.

    Attributes:
        difference: mean over tasks of the mean paired difference, with its interval.
        p: two-sided p-value of the stratified paired t test (of the sign-flip test if the differences do not
            vary); ``nan`` with one seed.
        permutation_p: exact sign-flip p-value, which assumes no normality; ``nan`` past 12 pairs.
        effect: Hedges' g of the paired differences (mean over pooled within-task standard deviation,
            small-sample corrected); ``nan`` if they do not vary.
        improvement: probability that a run of a beats a run of b on the same task, ties counted half.
        tasks, pairs: number of each; dropped: number of runs of either without partner.
    """

    difference: Interval
    p: float
    permutation_p: float
    effect: float
    improvement: float
    tasks: int
    pairs: int
    dropped: int


def paired_differences(
    frame: pd.DataFrame,
    a: str,
    b: str,
    *,
    row: str = "row",
    on: Sequence[str] = ("task", "seed"),
    value: str = "value",
) -> pd.DataFrame:
    """One record per common key with columns ``*on, a, b, difference``; ``ValueError`` if a row has two runs
    for a key."""
    columns = [*on, value]
    left, right = (frame.loc[frame[row] == name, columns] for name in (a, b))
    for name, side in ((a, left), (b, right)):
        double = side.duplicated(list(on))
        if double.any():
            raise ValueError(
                f"row {name!r} has two values for {side.loc[double, list(on)].iloc[0].to_dict()}"
            )
    both = left.merge(right, on=list(on), suffixes=("_a", "_b"))
    both = both.rename(columns={f"{value}_a": "a", f"{value}_b": "b"})
    both["difference"] = both["a"] - both["b"]
    return both.sort_values(list(on), ignore_index=True)


def compare(
    frame: pd.DataFrame, a: str, b: str, *, row: str = "row", level: float = 0.95
) -> Comparison | None:
    """Paired comparison over columns ``row, task, seed, value``; ``None`` if they have no run in common."""
    pairs = paired_differences(frame, a, b, row=row)
    if pairs.empty:
        return None
    groups = [g for _, g in pairs.groupby("task", sort=True)]
    total = int((frame[row] == a).sum() + (frame[row] == b).sum())
    return compare_groups(
        [g["a"].to_numpy(dtype=float) for g in groups],
        [g["b"].to_numpy(dtype=float) for g in groups],
        level=level,
        dropped=total - 2 * len(pairs),
    )


def compare_groups(
    a: Sequence[Floats], b: Sequence[Floats], *, level: float = 0.95, dropped: int = 0
) -> Comparison:
    """The comparison of two lists of arrays, one array per task; element i of both is the same seed. The
    permutation p is computed if it is exact (12 pairs or fewer), else ``nan``; :func:`permutation` has a
    sampled version.
    """
    groups = [settled(x - y) for x, y in zip(a, b, strict=True)]
    pairs = sum(map(len, groups))
    difference = stratified_groups(groups, level)
    p = _t_test(difference.value, difference.stderr, difference.df)
    if np.isnan(p) and pairs > len(groups):
        # Differences do not vary (a deterministic quantity such as memory): the sign-flip test still applies.
        p = permutation(groups)
    return Comparison(
        difference=difference,
        p=p,
        permutation_p=permutation(groups) if pairs <= EXACT_PAIRS else float("nan"),
        effect=hedges_g(groups),
        improvement=float(np.mean([_beats(x, y) for x, y in _stacked(a, b)])),
        tasks=len(groups),
        pairs=pairs,
        dropped=dropped,
    )


def compare_many(a: Floats, b: Floats, *, level: float = 0.95) -> list[Comparison]:
    """:func:`compare_groups` for many pairs of rows at once: shapes (pairs, tasks, seeds), the same seeds.

    Pairs whose differences do not vary, and all pairs if the permutation test is exact, are passed to
    :func:`compare_groups` one by one.
    """
    difference = settled(a - b)
    _, tasks, n = difference.shape
    alone = np.full(len(a), n < 2 or tasks * n <= EXACT_PAIRS)
    each = variance(difference) if n > 1 else np.zeros(difference.shape[:2])
    total = each.sum(axis=1)
    alone |= total <= 0
    spread = np.where(alone, 1.0, total)
    df = (n - 1) * spread**2 / np.where(alone, 1.0, (each**2).sum(axis=1))
    mean, stderr = difference.mean(axis=2).mean(axis=1), np.sqrt(spread / n) / tasks
    half = special.stdtrit(df, 0.5 + level / 2) * stderr
    p = 2 * special.stdtr(df, -np.abs(mean / stderr))
    free = tasks * (n - 1)
    effect = (1 - 3 / (4 * free - 1) if free > 1 else 1.0) * mean / np.sqrt(spread / tasks)
    found = []
    for i in range(len(a)):
        if alone[i]:
            found.append(compare_groups(list(a[i]), list(b[i]), level=level))
            continue
        m, h = float(mean[i]), float(half[i])
        interval = Interval(
            m, m - h, m + h, float(stderr[i]), float(df[i]), tasks * n, level, "stratified t over seeds"
        )
        wins = _beats(a[i], b[i])
        found.append(Comparison(interval, float(p[i]), np.nan, float(effect[i]), wins, tasks, tasks * n, 0))
    return found


def _stacked(a: Sequence[Floats], b: Sequence[Floats]) -> list[tuple[Floats, Floats]]:
    """One pair of arrays (tasks, seeds) if all tasks have equally many seeds, else one pair per task."""
    if len({len(x) for x in (*a, *b)}) == 1:
        return [(np.stack(a), np.stack(b))]
    return list(zip(a, b, strict=True))


def paired_t(groups: Sequence[Floats]) -> float:
    """Stratified paired t test of mean difference 0; one array of paired differences per task.

    With one task it is the ordinary paired t test. If all differences are equal (up to rounding,
    :func:`~zobench.metrics.arrays.settled`), the t test does not apply: p is 1 if they are zero and ``nan``
    otherwise.
    """
    groups = [settled(g) for g in groups]
    mean = float(np.mean([np.mean(g) for g in groups]))
    return _t_test(mean, *stratified_error(groups))


def _t_test(mean: float, stderr: float, df: float) -> float:
    if not df:
        return float("nan")
    if stderr == 0:
        return 1.0 if mean == 0 else float("nan")
    return float(2 * special.stdtr(df, -abs(mean / stderr)))


def permutation(groups: Sequence[Floats], resamples: int = 20_000, rng: int = 0) -> float:
    """Sign-flip permutation test of the mean of task means: exact up to 12 pairs, else (hits + 1) /
    (resamples + 1).
    """
    flat = np.concatenate([np.asarray(g, dtype=float) / len(g) for g in groups])
    observed = abs(flat.sum())
    n = len(flat)
    if n <= EXACT_PAIRS:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ flat) >= observed - 1e-12))
    signs = np.random.default_rng(rng).choice([-1.0, 1.0], (resamples, n))
    hits = int((np.abs(signs @ flat) >= observed - 1e-12).sum())
    return (hits + 1) / (resamples + 1)


def mcnemar(a_correct: Sequence[bool], b_correct: Sequence[bool]) -> tuple[int, int, float]:
    """Exact McNemar test on the same examples: (only a right, only b right, two-sided binomial p).

    The test concerns one pair of trained models: it shows whether these two models differ, not whether the
    methods do.
    """
    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"mcnemar needs two sequences over the same examples, not shapes {a.shape} and {b.shape}"
        )
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return only_a, only_b, mcnemar_p(only_a, only_b)


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided binomial p of the discordant counts: 2 P(X <= min) with X ~ B(n, 1/2), at most 1."""
    n = only_a + only_b
    # stats.binomtest gives the same p but takes a hundred times as long; a page needs thousands.
    return min(1.0, 2.0 * float(special.bdtr(min(only_a, only_b), n, 0.5))) if n else 1.0


def paired_bootstrap_groups(
    groups: Sequence[Floats], *, level: float = 0.95, resamples: int = 2000, rng: int = 0
) -> Interval:
    """Two-stage bootstrap of the mean paired difference: seeds, then examples within the drawn seed.

    ``groups`` has one array per seed: the differences of its examples (for accuracy -1, 0 or 1). The first
    stage's deviations are scaled by sqrt(n/(n-1)); ends are estimate +/- t_{n-1} * standard error. All seeds
    have the same weight. With one seed the interval is over its examples only, as its ``method`` states.
    """
    if not groups:
        raise ValueError("paired_bootstrap_groups needs at least one seed")
    generator = np.random.default_rng(rng)
    means = np.array([g.mean() for g in groups])
    k, sizes = len(groups), {len(g) for g in groups}
    if len(sizes) == 1 and k * resamples * len(groups[0]) <= ENTRIES_AT_ONCE:
        picks = generator.integers(0, len(groups[0]), (k, resamples, len(groups[0])))
        inner = np.take_along_axis(np.stack(groups)[:, None], picks, axis=2).mean(axis=2).T - means
    else:
        draws = [g[generator.integers(0, len(g), (resamples, len(g)))].mean(axis=1) for g in groups]
        inner = np.stack(draws, axis=1) - means
    if k == 1:
        stderr, df = float(np.sqrt(variance(inner[:, 0]))), np.inf
        method = "bootstrap over examples of one seed"
    else:
        wide = means.mean() + (means - means.mean()) * np.sqrt(k / (k - 1))
        draw = generator.integers(0, k, (resamples, k))
        outer = wide[draw] + np.take_along_axis(inner, draw, axis=1)
        stderr, df, method = (
            float(np.sqrt(variance(outer.mean(axis=1)))),
            k - 1,
            "two-stage bootstrap over seeds and examples",
        )
    half = float(stats.t.ppf(0.5 + level / 2, df)) * stderr
    estimate = float(means.mean())
    return Interval(estimate, estimate - half, estimate + half, stderr, float(df), k, level, method)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's step-down adjusted p-values, in the order given; ``nan`` stays ``nan`` and is not counted."""
    p = np.asarray(p_values, dtype=float)
    out = np.full_like(p, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    m = len(order)
    if m:
        out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (m - np.arange(m))))
    return out


def hedges_g(groups: Sequence[Floats]) -> float:
    """Standardized mean paired difference, J(df) * mean / pooled within-task sd, J = 1 - 3 / (4 df - 1)."""
    arrays = [settled(g) for g in groups]
    df = sum(len(g) - 1 for g in arrays)
    if df < 1:
        return float("nan")
    if len({len(g) for g in arrays}) == 1:
        pooled = np.sqrt(variance(np.stack(arrays)).mean())
    else:
        pooled = np.sqrt(sum((len(g) - 1) * variance(g) for g in arrays if len(g) > 1) / df)
    if pooled == 0:
        return float("nan")
    correction = 1 - 3 / (4 * df - 1) if df > 1 else 1.0
    return float(correction * np.mean([g.mean() for g in arrays]) / pooled)


def _beats(x: Floats, y: Floats) -> float:
    """Share of pairs (run of x, run of y) in which x is larger, ties counted half; the last axis is seeds."""
    gaps = np.round(x[..., :, None] - y[..., None, :], 12)
    return float(0.5 + 0.5 * np.sign(gaps).mean())
