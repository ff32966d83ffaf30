"""Differences that are equal up to rounding have no spread, and equal totals are equal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from zobench.metrics import paired, power, ranking
from zobench.metrics.arrays import comparable, settled, variance
from zobench.metrics.curves import time_to_target
from zobench.metrics.intervals import stratified_groups
from zobench.report.ranking import first_shares
from zobench.report.tuning import within_noise
from zobench.studies.robustness import stored_interval
from zobench.suite.tuning import Trial, _within_noise

N = 200
"""Test examples: accuracies are whole counts over it."""


def accuracies(*counts: int) -> np.ndarray:
    return np.array([c / N for c in counts])


def test_the_differences_of_the_sample_are_equal_by_the_sign_flip_test() -> None:
    """As binary numbers they differ by 1e-17; a t test divided by that and gave p = 1.4e-31."""
    a, b = accuracies(140, 160, 180), accuracies(120, 140, 160)
    assert len(set((a - b).tolist())) > 1
    found = paired.compare_groups([a], [b])
    assert found.p == found.permutation_p == 0.25
    assert np.isnan(found.effect)
    assert found.difference.value == pytest.approx(0.1, abs=1e-15)
    assert found.difference.stderr == 0.0
    (many,) = paired.compare_many(a[None, None], b[None, None])
    assert many.p == 0.25
    assert np.isnan(paired.paired_t([a - b]))


def test_constant_differences_are_never_significant_at_three_seeds() -> None:
    """Of 20,000 draws, 9,622 had p < 0.05."""
    rng = np.random.default_rng(0)
    counts, shift = rng.integers(0, N - 40, (20_000, 3)), rng.integers(1, 40, (20_000, 1))
    a, b = (counts + shift) / N, counts / N
    spread = np.ptp(a - b, axis=1)
    assert 5_000 < int((spread > 0).sum()) < 20_000, "the draws hold the case"
    assert np.ptp(settled(a - b), axis=1).max() == 0.0
    for i in np.flatnonzero(spread)[:300]:
        assert paired.compare_groups([a[i]], [b[i]]).p == 0.25


@pytest.mark.parametrize("seeds", [3, 7, 10, 20])
def test_the_mean_of_equal_differences_leaves_no_spread(seeds: int) -> None:
    """Of seven equal numbers it may miss them by its last bit: 15 of 199 differences had p < 1e-80."""
    for shift in np.arange(1, N) / N:
        a, b = np.full(seeds, 0.5 + shift), np.full(seeds, 0.5)
        assert variance(a - b) == 0.0
        found = paired.compare_groups([a], [b])
        assert found.difference.stderr == 0.0
        assert np.isnan(found.effect)
        assert found.p > 1e-5
        (many,) = paired.compare_many(a[None, None], b[None, None])
        assert many.difference.stderr == 0.0
    assert paired.compare_groups([np.full(seeds, 0.5)], [np.full(seeds, 0.5)]).p == 1.0


def test_a_spread_of_one_example_is_kept_to_the_bit() -> None:
    for scale in (1.0, 1e-3, 1e6):
        values = np.array([[0.1, 0.1, 0.1 + 1 / N], [0.3, -0.2, 0.0]]) * scale
        assert np.array_equal(settled(values), values)
    assert settled(np.array([1e-17, -1e-17, 0.0])).tolist() == [0.0, 0.0, 0.0]


def test_every_spread_is_judged_alike() -> None:
    values = accuracies(140, 160, 180) - accuracies(120, 140, 160)
    assert stratified_groups([values]).stderr == 0.0
    assert stratified_groups([values, values[:2]]).stderr == 0.0
    assert np.isnan(paired.hedges_g([values]))
    assert np.isnan(paired.hedges_g([values, values[:2]]))
    exact = [np.full(3, 0.1)]
    assert power.seeds_to_separate([values]) == power.seeds_to_separate(exact)


def test_equal_totals_are_equal_means() -> None:
    """20,922 of 82,220 pairs of seed triples with equal totals had other means."""
    apart = 0
    triples = [t for t in itertools.combinations_with_replacement(range(100, 140), 3) if sum(t) == 360]
    for one, other in itertools.combinations(triples, 2):
        means = [float(accuracies(*t).mean()) for t in (one, other)]
        apart += means[0] != means[1]
        assert comparable(means[0]) == comparable(means[1])
    assert apart > 0, "the triples hold the case"
    assert comparable(360 / 600) != comparable(361 / 600)


def test_equal_scores_share_a_mean_rank() -> None:
    values = {"a": {"t": 0.1 + 0.2, "u": 0.5}, "b": {"t": 0.3, "u": 0.5}, "c": {"t": 0.2, "u": 0.4}}
    assert ranking.mean_ranks(values) == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_equal_differences_of_seeds_have_no_two_stage_spread() -> None:
    """Every example of three seeds changes by the same share of a third: means that differ by rounding."""
    third = [np.full(10, x) for x in (0.7 - 0.6, 0.8 - 0.7, 0.9 - 0.8)]
    assert len({g.mean() for g in third}) > 1, "the seeds hold the case"
    found = paired.paired_bootstrap_groups(third, resamples=50)
    assert found.stderr == 0.0
    assert found.low == found.value == found.high
    assert paired.paired_bootstrap_groups(third[:1], resamples=50).stderr == 0.0


def test_equal_values_are_ties_in_the_probability_of_improvement() -> None:
    found = paired.compare_groups([np.array([0.1 + 0.2, 0.3])], [np.array([0.3, 0.3])])
    assert found.improvement == 0.5


def test_a_target_computed_from_means_is_met_by_the_value_it_stands_for() -> None:
    target = 0.1 + 0.9 * (0.9 - 0.1)
    assert target > 0.82, "the target holds the case"
    assert time_to_target([0, 10], [0.1, 0.82], target).reached
    assert not time_to_target([0, 10], [0.1, 0.815], target).reached
    assert time_to_target([0, 10], [0.9, 0.3], 0.1 + 0.2 - 1e-16, higher=False).reached


def test_rows_that_tie_share_the_first_place() -> None:
    values = {"a": {"t": np.array([0.1 + 0.2, 0.5])}, "b": {"t": np.array([0.3, 0.5])}}
    assert first_shares(values, ["a", "b"], higher=True) == {"a": 0.5, "b": 0.5}
    assert first_shares(values, ["b", "a"], higher=False) == {"a": 0.5, "b": 0.5}


def test_trials_with_equal_totals_are_within_noise_of_each_other() -> None:
    one, other = {"0": 0.1 + 0.2, "1": 0.1 + 0.2}, {"0": 0.3, "1": 0.3}
    assert one["0"] > other["0"], "the scores hold the case"
    assert within_noise(one, other)
    assert within_noise(other, one)
    assert not within_noise({"0": 0.7, "1": 0.8}, {"0": 0.6, "1": 0.7})
    ranked = [Trial({}, (0.1 + 0.2, 0.1 + 0.2)), Trial({}, (0.3, 0.3))]
    assert _within_noise(ranked) is True


def test_an_interval_read_back_from_its_ends_has_no_spread_of_rounding() -> None:
    found = stored_interval(0.1, 0.1 - 2e-17, 0.1 + 1e-17, 3)
    assert found.stderr == 0.0
    assert stored_interval(0.1, 0.05, 0.15, 3).stderr > 0.01
