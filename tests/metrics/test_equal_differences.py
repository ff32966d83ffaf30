"""A spread of rounding is no spread, and equal totals are equal."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from zobench.metrics import paired, power, ranking
from zobench.metrics.arrays import comparable, settled
from zobench.metrics.intervals import stratified_groups

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


def test_equal_scores_share_a_rank_in_the_critical_difference() -> None:
    rows = [
        {"row": row, "task": "t", "seed": s, "value": v}
        for row, values in (("a", (0.1 + 0.2, 0.5)), ("b", (0.3, 0.5)), ("c", (0.2, 0.4)))
        for s, v in enumerate(values)
    ]
    found = ranking.critical_difference(pd.DataFrame(rows))
    assert found.mean_ranks == {"a": 1.5, "b": 1.5, "c": 3.0}
