"""Intervals against scipy and statsmodels, and their coverage by simulation where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from zobench.metrics import intervals as iv


def frame_of(groups):
    return pd.DataFrame(
        [{"task": f"t{t}", "seed": s, "value": v} for t, g in enumerate(groups) for s, v in enumerate(g)]
    )


def covered(hits: int, n: int, nominal: float = 0.95, below: float = 0.0) -> None:
    """The observed coverage is compatible with at least ``nominal - below`` (binomial, one-sided at 1e-4)."""
    assert stats.binomtest(hits, n, nominal - below, alternative="less").pvalue > 1e-4, hits / n


def test_t_interval_against_scipy():
    x = [0.61, 0.64, 0.58, 0.70, 0.66]
    ours = iv.stratified_groups([np.array(x)])
    low, high = stats.t.interval(0.95, 4, np.mean(x), stats.sem(x))
    assert (ours.low, ours.high) == pytest.approx((low, high))
    assert ours.n == 5


def test_single_seed_has_no_interval():
    assert np.isnan(iv.stratified_groups([np.array([0.5])]).low)
    alone = iv.stratified_groups([np.array([0.5]), np.array([0.7])])
    assert alone.value == pytest.approx(0.6)
    assert np.isnan(alone.high)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (7, 20), (200, 200), (1, 1)])
def test_wilson_against_statsmodels(k, n):
    from statsmodels.stats.proportion import proportion_confint

    ours = iv.wilson(k, n)
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


@pytest.mark.parametrize("n", [1, 3, 9, 40])
def test_exact_shares_against_scipy(n):
    hits = np.arange(n + 1)
    low, high = iv.exact_shares(hits / n, n)
    for k in hits:
        ends = stats.binomtest(int(k), n).proportion_ci(method="exact")
        assert (low[k], high[k]) == pytest.approx((ends.low, ends.high), abs=1e-12)
    with pytest.raises(ValueError, match="shares in"):
        iv.exact_shares([1.2], n)


def test_stratified_mean_by_hand():
    ours = iv.stratified_groups([np.array([1.0, 2.0, 3.0]), np.array([10.0, 14.0])])
    a, b = 1.0 / 3, 8.0 / 2  # variances of the two task means
    assert ours.value == pytest.approx((2 + 12) / 2)
    assert ours.stderr == pytest.approx(np.sqrt(a + b) / 2)
    assert ours.df == pytest.approx((a + b) ** 2 / (a**2 / 2 + b**2 / 1))


def test_welch_degrees_of_freedom_against_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 6), rng.normal(0, 3, 4)
    _, df = iv.stratified_error([x, y])
    assert df == pytest.approx(stats.ttest_ind(x, y, equal_var=False).df)


def test_iqm_drops_a_quarter_from_each_end():
    assert iv.iqm([0, 1, 2, 3, 4, 5, 6, 100]) == pytest.approx(np.mean([2, 3, 4, 5]))
    assert iv.iqm([1.0, 2.0]) == pytest.approx(1.5)


def test_bootstrap_variance_of_a_mean_is_unbiased():
    rng = np.random.default_rng(1)
    x = rng.normal(size=4)
    draws = iv.stratified_bootstrap([x], lambda m: m.mean(axis=1), 200_000)
    assert draws.std() == pytest.approx(x.std(ddof=1) / 2, rel=0.01)


def test_rows_in_another_order_give_the_same_interval():
    frame = frame_of(np.random.default_rng(2).normal(size=(3, 4)))
    one, other = (iv.iqm_interval(f, resamples=500) for f in (frame, frame.sample(frac=1, random_state=0)))
    assert (one.value, one.df) == pytest.approx((other.value, other.df))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="no column 'task'"):
        iv.iqm_interval(pd.DataFrame({"seed": [1], "value": [1.0]}))
    with pytest.raises(ValueError, match="value 1 is not finite"):
        iv.stratified_groups([np.array([1.0, np.nan])])
    with pytest.raises(ValueError, match="wilson"):
        iv.wilson(3, 2)


def simulate_coverage(studies: int, tasks: int, seeds: int, rng: int) -> dict[str, int]:
    """Hits of each interval in normal studies with unequal task variances."""
    generator = np.random.default_rng(rng)
    scale = np.linspace(0.5, 2.0, tasks)
    truth = np.linspace(0.6, 0.8, tasks)
    hits = dict.fromkeys(("mean", "iqm"), 0)
    # with symmetric noise the interquartile mean of equal-mean tasks estimates the common mean
    for _ in range(studies):
        noise = generator.normal(size=(tasks, seeds)) * scale[:, None] * 0.03
        i = iv.stratified_groups(list(truth[:, None] + noise))
        hits["mean"] += i.low <= truth.mean() <= i.high
        q = iv.iqm_interval(frame_of(0.7 + noise), resamples=200)
        hits["iqm"] += q.low <= 0.7 <= q.high
    return hits


def test_coverage_of_stratified_intervals():
    hits = simulate_coverage(400, 3, 5, 0)
    covered(hits["mean"], 400)
    covered(hits["iqm"], 400, below=0.03)


def test_coverage_of_wilson():
    rng = np.random.default_rng(3)
    for p in (0.5, 0.8, 0.97):
        k = rng.binomial(200, p, 2000)
        hits = sum(i.low <= p <= i.high for i in (iv.wilson(int(x), 200) for x in k))
        covered(hits, 2000, below=0.015)  # Wilson's coverage oscillates a little below 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (3, 3), (3, 5), (6, 10)])
def test_coverage_long(tasks, seeds):
    hits = simulate_coverage(4000, tasks, seeds, tasks * 100 + seeds)
    covered(hits["mean"], 4000, below=0.01)
    covered(hits["iqm"], 4000, below=0.03)
