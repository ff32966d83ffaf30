"""Intervals of shares lie in [0, 1] and have the stated coverage with two to five seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from test_coverage import at_least

from zobench.metrics.intervals import Interval, bounded_ends, stratified_groups
from zobench.metrics.measures import GAP, SHARE
from zobench.metrics.paired import compare_groups

STUDIES, ROWS = 2000, 200


def test_the_interval_of_the_readme_stays_in_the_range() -> None:
    """Three seeds of one task gave 61.3 +- 98.9 %."""
    found = stratified_groups([np.array([0.855, 0.125, 0.86])])
    assert found.value == pytest.approx(0.6133, abs=1e-4)
    assert found.half > 1
    inside = found.within(SHARE)
    assert 0 <= inside.low < inside.value < inside.high <= 1
    z, slope = special.logit(found.value), 1 / (found.value * (1 - found.value))
    assert inside.low == pytest.approx(special.expit(z - found.half * slope), abs=1e-12)
    assert inside.high == pytest.approx(special.expit(z + found.half * slope), abs=1e-12)
    assert (inside.stderr, inside.df, inside.value) == (found.stderr, found.df, found.value)


def test_narrow_intervals_hardly_change() -> None:
    found = stratified_groups([np.array([0.50, 0.505, 0.51, 0.49])])
    inside = found.within(SHARE)
    assert inside.low == pytest.approx(found.low, abs=1e-5)
    assert inside.high == pytest.approx(found.high, abs=1e-5)


@pytest.mark.parametrize(("value", "half"), [(0.0, 0.0), (1.0, 0.0), (0.3, 0.0), (0.5, float("nan"))])
def test_no_spread_and_no_interval_are_kept(value: float, half: float) -> None:
    low, high = bounded_ends(value, half, SHARE)
    assert np.array_equal([low, high], [value - half, value + half], equal_nan=True)


def test_other_units_are_left_alone() -> None:
    found = stratified_groups([np.array([61.0, 64.0])])
    assert found.within(SHARE) == found
    assert found.within(None) == found


def test_differences_are_cut_and_agree_with_their_test() -> None:
    found = compare_groups([np.array([0.9, 0.1])], [np.array([0.1, 0.6])]).difference
    assert found.low < -1
    assert found.high > 1
    cut = found.cut(GAP)
    assert (cut.low, cut.high) == (-1.0, 1.0)
    shift = Interval(0.2, 0.1, 1.4, 0.1, 2.0, 3, 0.95, "t").cut(GAP)
    assert (shift.low, shift.high) == (0.1, 1.0)


def shares(seeds: int, mean: float, concentration: float, tasks: int, rng: int) -> np.ndarray:
    """Accuracies on ROWS rows of models whose own accuracy differs by seed (beta with this mean)."""
    generator = np.random.default_rng(rng)
    p = generator.beta(mean * concentration, (1 - mean) * concentration, (STUDIES, tasks, seeds))
    return generator.binomial(ROWS, p) / ROWS


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize(("mean", "concentration"), [(0.5, 5), (0.5, 200), (0.8, 5), (0.8, 20), (0.9, 40)])
def test_coverage(seeds: int, tasks: int, mean: float, concentration: float) -> None:
    drawn = shares(seeds, mean, concentration, tasks, rng=seeds * 10 + tasks)
    found = [stratified_groups(list(study)) for study in drawn]
    ends = [i.within(SHARE) for i in found]
    assert all(0 <= i.low <= i.value <= i.high <= 1 for i in ends)
    hits = sum(i.low <= mean <= i.high for i in ends)
    at_least(hits, STUDIES, 0.94)
    # never worse than the t interval cut at 0 and 1
    assert hits >= sum(i.cut(SHARE).low <= mean <= i.cut(SHARE).high for i in found) - 0.005 * STUDIES


def test_what_it_cannot_do() -> None:
    """Where most seeds are right on every row, no interval from their spread covers: both fall below 0.95."""
    drawn = shares(3, 0.99, 20, 1, rng=1)
    found = [stratified_groups(list(study)) for study in drawn]
    logit = np.mean([i.within(SHARE).low <= 0.99 <= i.within(SHARE).high for i in found])
    cut = np.mean([i.cut(SHARE).low <= 0.99 <= i.cut(SHARE).high for i in found])
    assert cut < logit < 0.9
