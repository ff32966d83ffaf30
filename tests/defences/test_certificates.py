"""Certified bounds, checked by simulations whose true value is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from zobench.defences.certificates import (
    ABSTAIN,
    Certificate,
    certificate,
    certified_accuracy,
    defence_success,
    lower_bound,
    suffix_broken,
)


@pytest.mark.parametrize(("p", "n"), [(0.6, 40), (0.9, 100), (0.99, 500)])
def test_the_bound_fails_no_more_often_than_promised(p, n):
    """The exact error rate: the probability of the hit counts whose bound lies above p."""
    alpha = 0.05
    wrong = sum(stats.binom.pmf(k, n, p) for k in range(n + 1) if lower_bound(k, n, alpha) > p)
    assert 0 < wrong <= alpha


def test_a_known_smoothed_classifier_is_certified_to_its_true_radius_and_no_further():
    """Base: class 1 where x_0 > 0. Smoothed: the same, with true radius |x_0|, whatever sigma."""
    rng, sigma, alpha, over, reach = np.random.default_rng(0), 0.5, 0.05, 0, []
    for _ in range(400):
        draws = (0.6 + sigma * rng.standard_normal(1100)) > 0
        first, rest = (np.bincount(d.astype(int), minlength=2) for d in (draws[:100], draws[100:]))
        found = certificate(first.tolist(), rest.tolist(), sigma=sigma, alpha=alpha)
        assert found.label == 1
        over += found.radius > 0.6
        reach.append(found.radius)
    assert over / 400 <= alpha + 3 * (alpha * (1 - alpha) / 400) ** 0.5
    assert 0.5 < np.mean(reach) < 0.6


def test_unsure_inputs_abstain():
    assert certificate([55, 45], [520, 480], sigma=1.0, alpha=0.001) == Certificate(ABSTAIN, 0.0)
    assert certificate([45, 55], [1000, 0], sigma=1.0, alpha=0.001).label == ABSTAIN
    with pytest.raises(ValueError, match="lower_bound"):
        lower_bound(3, 2, 0.1)


def test_certified_accuracy_falls_with_the_radius_and_abstaining_is_wrong():
    found = [Certificate(0, 0.5), Certificate(1, 2.0), Certificate(ABSTAIN, 0.0), Certificate(1, 9.0)]
    assert certified_accuracy(found, [0, 1, 0, 0], [0.0, 0.5, 1.0, 3.0]).tolist() == [0.5, 0.5, 0.25, 0.0]
    with pytest.raises(ValueError, match="for 1 labels"):
        certified_accuracy(found, [0], [0.0])


def test_the_vote_and_the_broken_suffix_by_simulation():
    rng = np.random.default_rng(1)
    wins = (rng.random((40_000, 7)) < 0.7).sum(1) >= 4
    assert defence_success(0.7, 7) == pytest.approx(wins.mean(), abs=0.01)
    assert defence_success(0.5, 2) == 0.75, "a tie counts for the defence"
    assert defence_success(0.5, 2, ties=False) == 0.25
    assert defence_success(0.7, 7, ties=False) == defence_success(0.7, 7)
    length, suffix, k, alphabet = 30, 12, 3, 4
    hits = 0
    for _ in range(20_000):
        drawn = rng.permutation(length)[: int(0.25 * length)]
        hits += int((rng.random((drawn < suffix).sum()) < 1 - 1 / alphabet).sum()) >= k
    assert suffix_broken(length, suffix, 0.25, k, alphabet) == pytest.approx(hits / 20_000, abs=0.015)
    assert suffix_broken(length, suffix, 0.25, 0, alphabet) == pytest.approx(1)
    assert suffix_broken(length, suffix, 0.05, 2, alphabet) == 0
