"""Coverage of every interval of the page and error rates of the exact tests, in simulations with a known
truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from zobench.metrics import intervals as iv
from zobench.metrics import paired as pt
from zobench.metrics import ranking as rk
from zobench.metrics.curves import area_under_curve


def at_least(hits: int, n: int, nominal: float) -> None:
    """Compatible with a coverage of ``nominal`` (binomial, one-sided at 1e-4)."""
    assert stats.binomtest(hits, n, nominal, alternative="less").pvalue > 1e-4, hits / n


def at_most(hits: int, n: int, rate: float) -> None:
    assert stats.binomtest(hits, n, rate, alternative="greater").pvalue > 1e-4, hits / n


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_t_interval(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    found = [iv.stratified_groups([x]) for x in rng.normal(0.7, 0.03, (1500, seeds))]
    at_least(sum(i.low <= 0.7 <= i.high for i in found), 1500, 0.95)


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (3, 3), (3, 8)])
def test_interval_of_a_paired_difference(tasks: int, seeds: int) -> None:
    """Rows share what the seeds do to both; tasks differ in their spread."""
    rng = np.random.default_rng(10 * tasks + seeds)
    spread = np.linspace(0.01, 0.03, tasks)[:, None]
    hits = 0
    for _ in range(1500):
        shared = rng.normal(0.7, 0.1, (tasks, seeds))
        a = shared + 0.02 + spread * rng.normal(size=shared.shape)
        b = shared + spread * rng.normal(size=shared.shape)
        d = pt.compare_groups(list(a), list(b)).difference
        hits += d.low <= 0.02 <= d.high
    # degrees of freedom are estimated; with three seeds of unequal tasks a little is lost
    at_least(hits, 1500, 0.94)


def test_interval_of_the_area_under_curves() -> None:
    rng = np.random.default_rng(5)
    x = [0.0, 150.0, 300.0, 600.0]
    truth = area_under_curve(x, [0.5, 0.6, 0.7, 0.8])
    hits = 0
    for _ in range(1000):
        curves = np.array([0.5, 0.6, 0.7, 0.8]) + rng.normal(0, 0.03, (2, 4, 4))
        areas = [np.array([area_under_curve(x, y) for y in task]) for task in curves.tolist()]
        found = iv.stratified_groups(areas)
        hits += found.low <= truth <= found.high
    at_least(hits, 1000, 0.95)


def test_bootstrap_over_seeds_and_examples_with_few_seeds() -> None:
    """Three trained models with 60 examples each; the method's true difference is 0.05."""
    rng = np.random.default_rng(6)
    hits, studies = 0, 300
    for i in range(studies):
        shift = np.clip(0.05 + rng.normal(0, 0.04, 3), -0.3, 0.3)
        groups = [rng.choice([1.0, 0.0, -1.0], 60, p=[0.2 + s / 2, 0.6, 0.2 - s / 2]) for s in shift]
        found = pt.paired_bootstrap_groups(groups, resamples=300, rng=i)
        hits += found.low <= 0.05 <= found.high
    at_least(hits, studies, 0.95)


def test_mcnemar_errs_at_most_at_its_level() -> None:
    """Two models that are right equally often but not on the same examples."""
    rng = np.random.default_rng(7)
    wrong = sum(pt.mcnemar(*(rng.uniform(size=(2, 120)) < 0.7))[2] < 0.05 for _ in range(1500))
    at_most(wrong, 1500, 0.05)


def simulate_profiles(tasks: int, seeds: int, studies: int, rng: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits of the band of a performance profile at each threshold, and those of a percentile bootstrap that
    resamples seeds within tasks (arXiv 2108.13264); tasks of different level and spread."""
    generator = np.random.default_rng(rng)
    level, spread = np.linspace(0.6, 0.8, tasks)[:, None], np.linspace(0.02, 0.06, tasks)[:, None]
    at = np.linspace(0.5, 0.9, 41)
    truth = stats.norm.sf(at[:, None], level[:, 0], spread[:, 0]).mean(axis=1)
    exact, bootstrap = np.zeros(len(at), int), np.zeros(len(at), int)
    for _ in range(studies):
        runs = level + spread * generator.normal(size=(tasks, seeds))
        low, high = iv.exact_shares(rk.performance_profile(runs.ravel(), at), runs.size)
        exact += (low <= truth) & (truth <= high)
        drawn = generator.integers(0, seeds, (200, tasks, seeds))
        again = np.take_along_axis(runs[None], drawn, axis=2).reshape(200, -1)
        ends = np.quantile((again[:, :, None] > at).mean(axis=1), [0.025, 0.975], axis=0)
        bootstrap += (ends[0] <= truth) & (truth <= ends[1])
    return exact, bootstrap


def test_band_of_the_performance_profile() -> None:
    for hits in simulate_profiles(3, 3, 400, 9)[0]:
        at_least(int(hits), 400, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (3, 3), (3, 8), (8, 5)])
def test_band_of_the_performance_profile_long(tasks: int, seeds: int) -> None:
    """At every threshold; and why the band is no percentile bootstrap, which misses far more."""
    exact, bootstrap = simulate_profiles(tasks, seeds, 3000, 10 * tasks + seeds)
    for hits in exact:
        at_least(int(hits), 3000, 0.95)
    assert bootstrap.min() < 0.8 * 3000


def test_band_of_the_profile_of_times() -> None:
    """Share of blocks on which a row needs at most twice the forwards of the fastest."""
    rng, hits, studies = np.random.default_rng(10), 0, 600
    mean = np.linspace(0.0, 1.0, 3)[:, None]
    draws = np.exp(mean + rng.normal(0, 0.4, (200_000, 3, 1, 2)))
    truth = (draws[..., 0] <= 2 * draws.min(axis=-1)).mean()
    for _ in range(studies):
        times = np.exp(mean[:, :, None] + rng.normal(0, 0.4, (3, 4, 2))).reshape(12, 2)
        share = rk.ratio_profile(pd.DataFrame(times, columns=["a", "b"]), [2.0])["a"]
        low, high = iv.exact_shares(share, 12)
        hits += bool(low[0] <= truth <= high[0])
    at_least(hits, studies, 0.95)


def test_band_of_a_curve_averaged_over_tasks() -> None:
    """The page joins the t intervals of the tasks by the root of their squared half widths over the number of
    tasks: at least nominal, with few seeds by far."""
    rng, hits, studies = np.random.default_rng(11), 0, 1500
    for _ in range(studies):
        runs = 0.7 + np.array([0.01, 0.02, 0.03])[:, None] * rng.normal(size=(3, 4))
        half = np.sqrt(sum(iv.stratified_groups([task]).half ** 2 for task in runs)) / 3
        hits += abs(runs.mean() - 0.7) <= half
    at_least(hits, studies, 0.95)
