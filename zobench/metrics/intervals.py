"""Intervals for means of runs: Wilson, exact, stratified t over tasks, interquartile mean.

The unit of replication is the seed (one trained model); examples are clustered within it, so test examples
never count as replicates of a method. Tasks are fixed strata: intervals apply to these tasks, not to tasks in
general.

Stratified t interval over T tasks with n_t seeds each: estimate (1/T) sum_t mean_t, variance (1/T^2) sum_t
s_t^2/n_t, degrees of freedom by Welch-Satterthwaite. With one task it is the ordinary t interval,
mean +/- t_{n-1} s / sqrt(n). Runs on different tasks are assumed to be independent given the task.

The mean of shares lies in [0, 1], and so does its interval (:meth:`Interval.within`): t on the scale of
logits. Of differences the interval is cut (:meth:`Interval.cut`), so that it still excludes 0 exactly where
the t test is significant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from zobench.metrics.arrays import Floats, settled, variance
from zobench.metrics.measures import Bounds


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        value: the estimate. low, high: interval ends; ``nan`` where the data cannot give one (a single seed).
        stderr: standard error behind it; df: degrees of freedom (``inf`` for normal theory, 0 if undefined).
        n: number of replicates (runs or examples). level: nominal coverage. method: how it was made, in
            words.
        bounds: between what the quantity lies, where that is known; the ends lie there as well.
    """

    value: float
    low: float
    high: float
    stderr: float
    df: float
    n: int
    level: float
    method: str
    bounds: Bounds | None = None

    @property
    def half(self) -> float:
        """Half the width; ``nan`` if there is no interval."""
        return (self.high - self.low) / 2

    def within(self, bounds: Bounds | None) -> Interval:
        """The interval of a mean m that lies in [a, b], from m +/- h: with z = logit((m - a) / (b - a)) the
        ends are those of z +/- h (b - a) / ((m - a) (b - m)), mapped back.

        The slope of the logit at m turns the standard error into one of z. Near an end it covers better than
        the cut t interval (``tests/metrics/test_bounded.py``). An end itself is kept, and so is an interval
        whose estimate is not in [a, b].
        """
        if bounds is None or not bounds[0] <= self.value <= bounds[1]:
            return self
        low, high = bounded_ends(self.value, self.half, bounds)
        return replace(self, low=float(low), high=float(high), bounds=bounds)

    def cut(self, bounds: Bounds | None) -> Interval:
        """The part of the interval in [a, b]; for differences."""
        if bounds is None:
            return self
        low, high = np.clip([self.low, self.high], *bounds)
        return replace(self, low=float(low), high=float(high), bounds=bounds)


def bounded_ends(mean: Any, half: Any, bounds: Bounds) -> tuple[Floats, Floats]:
    """Ends for means and half widths of any shape by the formula of :meth:`Interval.within`."""
    a, b = bounds
    share, spread = (np.asarray(mean, dtype=float) - a) / (b - a), np.asarray(half, dtype=float) / (b - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(spread == 0, 0.0, spread / (share * (1 - share)))
        z = special.logit(share)
        low, high = special.expit(z - step), special.expit(z + step)
    still = np.isnan(half) | (spread == 0)
    low, high = np.where(still, share - spread, low), np.where(still, share + spread, high)
    return a + (b - a) * low, a + (b - a) * high


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion, for instance of correct examples of one trained model, or of
    successful seeds.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"wilson needs 0 <= successes <= n and n >= 1, not {successes} of {n}")
    ends = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    p = successes / n
    stderr = float(np.sqrt(p * (1 - p) / n))
    return Interval(p, float(ends.low), float(ends.high), stderr, np.inf, n, level, "Wilson over examples")


def exact_shares(shares: Any, n: int, level: float = 0.95) -> tuple[Floats, Floats]:
    """Ends of the Clopper-Pearson interval of each share of ``n`` independent runs; same shape as ``shares``.

    Runs of different tasks have different chances p_i, so their count is Poisson-binomial, not binomial.
    Beyond one from its mean its tails are thinner than those of the binomial with the mean chance (Hoeffding,
    Ann. Math. Statist. 27, 1956): the interval holds for the mean of the p_i and errs towards width. A
    percentile bootstrap has no width at all where every run lies on the same side.
    """
    # scipy's own exact interval takes one count at a time, by root finding: milliseconds for every threshold.
    share = np.asarray(shares, dtype=float)
    if n < 1 or (share < 0).any() or (share > 1).any():
        raise ValueError(f"exact_shares needs shares in [0, 1] of n >= 1 runs, not n = {n}")
    hits, tail = np.rint(share * n), (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, special.betaincinv(hits, n - hits + 1, tail), 0.0)
        high = np.where(hits < n, special.betaincinv(hits + 1, n - hits, 1 - tail), 1.0)
    return low, high


def stratified_groups(groups: Sequence[Floats], level: float = 0.95) -> Interval:
    """Mean over tasks of the means over seeds, every task weighted alike; one array (n_t,) per task.

    Tasks with one seed contribute to the mean; if no task has two seeds there is no interval (``nan`` ends).
    """
    groups = [_finite(g) for g in groups]
    mean = float(np.mean([g.mean() for g in groups]))
    n = sum(len(g) for g in groups)
    stderr, df = stratified_error(groups)
    if not df:
        return Interval(mean, np.nan, np.nan, np.nan, 0.0, n, level, "one seed per task")
    return _from_t(mean, stderr, df, n, level, "stratified t over seeds")


def stratified_error(groups: Sequence[Floats]) -> tuple[float, float]:
    """Standard error and Satterthwaite degrees of freedom of the mean of task means; (nan, 0) if undefined.

    A task with a single seed borrows the pooled variance of the others.
    """
    if len({len(g) for g in groups}) == 1 and len(groups[0]) > 1:
        return _equal_error(settled(np.stack(groups)))
    several = [g for g in groups if len(g) > 1]
    if not several:
        return float("nan"), 0.0
    found = [(len(g) - 1, float(variance(g))) for g in several]
    pooled = sum(free * v for free, v in found) / sum(free for free, _ in found)
    size = np.array([len(g) for g in groups])
    parts = np.array([variance(g) if len(g) > 1 else pooled for g in groups]) / size
    total = parts.sum()
    if total <= 0:
        return 0.0, float(sum(len(g) - 1 for g in several))
    free = np.array([len(g) - 1 for g in groups])
    weight = np.divide(parts**2, free, out=np.zeros_like(parts), where=free > 0).sum()
    df = total**2 / weight if weight > 0 else float(sum(free))
    return float(np.sqrt(total) / len(groups)), float(df)


def _equal_error(values: Floats) -> tuple[float, float]:
    """The same for as many seeds on every task: shape (tasks, seeds), in two array operations."""
    tasks, n = values.shape
    spread = variance(values)
    total = float(spread.sum())
    if total <= 0:
        return 0.0, float(tasks * (n - 1))
    df = (n - 1) * total**2 / float((spread**2).sum())
    return float(np.sqrt(total / n)) / tasks, df


def iqm(values: Any) -> float:
    """Interquartile mean: mean of the middle half of all runs (25 % trimmed from each end; arXiv
    2108.13264).
    """
    return float(stats.trim_mean(_finite(values), 0.25))


def iqm_interval(
    frame: pd.DataFrame,
    *,
    value: str = "value",
    task: str = "task",
    level: float = 0.95,
    resamples: int = 2000,
    rng: int = 0,
) -> Interval:
    """Interquartile mean over all runs with a stratified bootstrap over seeds within tasks.

    Percentile intervals of three to ten runs are far too narrow. So the deviations are scaled by
    sqrt(n/(n-1)) before resampling and the interval is estimate +/- t_df * (bootstrap standard error), df by
    Satterthwaite.
    """
    _columns(frame, value, task)
    groups = [_finite(g.to_numpy(dtype=float)) for _, g in frame.groupby(task, sort=True)[value]]
    n = sum(len(g) for g in groups)
    estimate = iqm(np.concatenate(groups))
    _, df = stratified_error(groups)
    if not df:
        return Interval(estimate, np.nan, np.nan, np.nan, 0.0, n, level, "one seed per task")
    draws = stratified_bootstrap(groups, lambda x: stats.trim_mean(x, 0.25, axis=1), resamples, rng)
    return _from_t(
        estimate, float(draws.std(ddof=1)), df, n, level, "interquartile mean, stratified bootstrap"
    )


def stratified_bootstrap(
    groups: Sequence[Floats], statistic: Callable[[Floats], Floats], resamples: int = 2000, rng: int = 0
) -> Floats:
    """Bootstrap draws of a statistic, seeds resampled within each task; shape (resamples,).

    ``statistic`` maps (resamples, all runs) to (resamples,). Deviations from the task mean are scaled by
    sqrt(n/(n-1)), which makes the bootstrap variance of a mean unbiased.
    """
    generator = np.random.default_rng(rng)
    parts = []
    for group in groups:
        n = len(group)
        scale = np.sqrt(n / (n - 1)) if n > 1 else 1.0
        wide = group.mean() + (group - group.mean()) * scale
        parts.append(wide[generator.integers(0, n, (resamples, n))])
    return statistic(np.concatenate(parts, axis=1))


def _from_t(mean: float, stderr: float, df: float, n: int, level: float, method: str) -> Interval:
    half = float(special.stdtrit(df, 0.5 + level / 2)) * stderr
    return Interval(mean, mean - half, mean + half, stderr, float(df), n, level, method)


def _finite(values: Any) -> Floats:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"need a non-empty one-dimensional sequence of numbers, not shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"value {int(np.flatnonzero(~np.isfinite(x))[0])} is not finite")
    return x


def _columns(frame: pd.DataFrame, *names: str) -> None:
    missing = [n for n in names if n not in frame.columns]
    if missing:
        raise ValueError(f"no column {missing[0]!r}; the frame has {', '.join(map(str, frame.columns))}")
