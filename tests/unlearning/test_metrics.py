"""Metrics: closed forms, the oracle's own scores, and values computed from stored losses of single
examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zobench.metrics.two_samples import auc
from zobench.unlearning.metrics.membership import (
    loss_score,
    min_k,
    min_k_plus_plus,
    privleak,
    reference_score,
    zlib_score,
)
from zobench.unlearning.metrics.memorization import exact_memorization, extraction_strength, last_tokens
from zobench.unlearning.metrics.overlap import rouge_l
from zobench.unlearning.metrics.probability import among_options
from zobench.unlearning.metrics.summary import model_utility
from zobench.unlearning.metrics.truth_ratio import forget_quality, log_truth_ratio, truth_ratio

LOSSES = st.lists(st.integers(1, 20), min_size=3, max_size=12)
"""Whole numbers: a strictly rising function of them stays strictly rising in floats."""
RANDOM = np.random.default_rng(0)


def test_probability_among_options():
    found = among_options([0.6, 0.0], [[0.1, 0.1, 0.2], [0.0, 0.0, 0.0]])
    assert found[0] == pytest.approx(0.6)
    assert found[1] == 0, "the floor keeps it finite"


def test_truth_ratio_from_stored_losses():
    """Two items as open-unlearning scores them: perturbed losses averaged, then exp, then aggregated."""
    correct, wrong = [1.0, 2.0], [[1.5, 2.5, 2.0], [1.0, 1.0, 1.0]]
    r = np.array([math.exp(-2.0) / math.exp(-1.0), math.exp(-1.0) / math.exp(-2.0)])
    assert np.exp(log_truth_ratio(correct, wrong)) == pytest.approx(r)
    assert truth_ratio(correct, wrong, "forget") == pytest.approx(np.minimum(r, 1 / r).mean())
    assert truth_ratio(correct, wrong, "utility") == pytest.approx(np.maximum(0, 1 - r).mean())
    p, q = np.exp([-1.0, -2.0]), np.exp([-2.0, -1.0])
    assert truth_ratio(correct, wrong, "knowledge") == pytest.approx((p / (p + q)).mean(), rel=1e-8)
    with pytest.raises(ValueError, match="unknown aggregate"):
        truth_ratio(correct, wrong, "mean")


def test_truth_ratio_of_who_knows_nothing():
    same = [[1.3] * 5] * 4
    assert truth_ratio([1.3] * 4, same, "forget") == 1
    assert truth_ratio([1.3] * 4, same, "utility") == 0
    assert truth_ratio([1.3] * 4, same, "knowledge") == pytest.approx(0.5)


@given(LOSSES, LOSSES)
@settings(max_examples=40, deadline=None)
def test_forget_quality_does_not_mind_the_ratio_upside_down(a, b):
    up, down = (
        forget_quality(np.exp(a), np.exp(b)),
        forget_quality(np.exp(-np.array(a)), np.exp(-np.array(b))),
    )
    logs = forget_quality(a, b)
    for other in (down, logs):
        assert other.d == pytest.approx(up.d)
        assert other.log10_p == pytest.approx(up.log10_p, abs=1e-9)


def test_the_oracle_has_forget_quality_one():
    ratios = RANDOM.normal(size=40)
    found = forget_quality(ratios, ratios)
    assert (found.d, found.log10_p, found.saturated) == (0, 0, False)


@pytest.mark.parametrize("n", [40, 200, 400])
def test_saturated_forget_quality_is_two_over_binomial(n):
    """Disjoint samples: p = 2 / C(2n, n), whatever the models."""
    found = forget_quality(np.arange(n), np.arange(n) + n)
    assert found.saturated
    assert found.d == 1
    exact = math.log10(2) - (math.lgamma(2 * n + 1) - 2 * math.lgamma(n + 1)) / math.log(10)
    assert found.log10_p == pytest.approx(exact, rel=1e-6)


def test_forget_quality_below_the_smallest_float_stays_finite():
    found = forget_quality(np.arange(2000), np.arange(2000) + 2000)
    assert -2000 < found.log10_p < -300


@pytest.mark.parametrize(
    ("hits", "strength", "released"),
    [("111", 1, 1), ("000", 0, 1 / 3), ("011", 2 / 3, 2 / 3), ("110", 0, 1 / 3), ("101", 1 / 3, 1 / 3)],
)
def test_extraction_strength(hits, strength, released):
    found = [h == "1" for h in hits]
    assert extraction_strength(found) == pytest.approx(strength)
    assert extraction_strength(found, floor="open-unlearning") == pytest.approx(released)
    assert exact_memorization(found) == pytest.approx(hits.count("1") / 3)


@given(st.lists(st.booleans(), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_extraction_never_exceeds_exact_memorization(hits):
    strength = extraction_strength(hits)
    assert strength <= exact_memorization(hits) + 1e-12
    length = round(strength * len(hits))
    assert length == 0 or last_tokens(hits, length)
    assert not last_tokens(hits, length + 1) or length == len(hits)


def test_no_tokens_no_memorization():
    with pytest.raises(ValueError, match="without tokens"):
        exact_memorization([])
    with pytest.raises(ValueError, match="at least 1"):
        last_tokens([True], 0)


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("one two three four", "one three five", (2 / 3, 1 / 2, 4 / 7)),
        ("Studies", "studying of several studies", (1 / 4, 1, 2 / 5)),
        ("a b c d", "d c b a", (1 / 4, 1 / 4, 1 / 4)),
        ("novels, 1999!", "NOVEL 1999", (1, 1, 1)),
        ("", "something", (0, 0, 0)),
        ("---", "...", (0, 0, 0)),
    ],
)
def test_rouge_l_by_hand(reference, answer, expected):
    """Words are lower-cased, stemmed and without punctuation."""
    found = rouge_l(reference, answer)
    assert (found.precision, found.recall, found.fmeasure) == pytest.approx(expected)


def test_membership_scores_by_hand():
    log_p = [-1.0, -4.0, -2.0, -3.0, -5.0]
    assert loss_score(log_p) == 3
    assert min_k(log_p, 0.4) == 4.5
    assert min_k(log_p, 1.0) == loss_score(log_p)
    assert min_k(log_p, 0.01) == 5, "at least one token"
    assert min_k_plus_plus(log_p, [0.0] * 5, [4.0] * 5, 0.4) == pytest.approx(4.5 / 2)
    assert min_k_plus_plus(log_p, log_p, [0.0] * 5, 0.4) == 0, "variance has a floor"
    assert reference_score(log_p, [-1.0, -1.0]) == 2
    assert zlib_score(log_p, "a" * 200) > zlib_score(log_p, "".join(map(chr, range(33, 120))))
    with pytest.raises(ValueError, match="share"):
        min_k(log_p, 0)


def test_auc_closed_forms():
    assert auc([1, 2, 3], [4, 5]) == 1, "holdout less likely: memorized"
    assert auc([4, 5], [1, 2, 3]) == 0
    assert auc([1, 1], [1, 1, 1]) == 0.5
    assert auc([1, 3], [2, 3]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)


@given(LOSSES, LOSSES)
@settings(max_examples=40, deadline=None)
def test_auc_is_complementary_and_rank_based(a, b):
    assert auc(a, b) + auc(b, a) == pytest.approx(1)
    assert auc(np.exp(a), np.exp(b)) == pytest.approx(auc(a, b))


@given(st.floats(0, 0.99))
@settings(max_examples=30, deadline=None)
def test_privleak_of_the_oracle_is_zero(value):
    assert privleak(value, value) == 0
    assert privleak(1.0, value) == pytest.approx(-100), "fully memorized"


def test_privleak_signs_and_limits():
    assert privleak(0.9, 0.5) == pytest.approx(-80)
    assert privleak(0.0, 0.5) == pytest.approx(100)
    with pytest.raises(ValueError, match="undefined"):
        privleak(0.5, 1.0)
    with pytest.raises(ValueError, match="must lie in"):
        privleak(1.5, 0.5)


def test_utility_is_harmonic_and_any_zero_kills_it():
    found = model_utility({"a": 1.0, "b": 0.5})
    assert found.value == pytest.approx(2 / 3)
    assert found.parts == {"a": 1.0, "b": 0.5}
    assert model_utility({"a": 1.0, "b": 0.0}).value == 0
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        model_utility({"a": 1.2})


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 5), (40, 40), (7, 12), (30, 41), (100, 100)])
def test_ks_in_log10_is_the_exact_test(n: int, m: int) -> None:
    from scipy import stats

    from zobench.unlearning.metrics.truth_ratio import ks_log10_p

    rng = np.random.default_rng(n + m)
    for shift in (0.0, 0.5, 1.5, 9.0):
        a, b = rng.normal(size=n), rng.normal(shift, size=m)
        found = stats.ks_2samp(a, b, method="exact")
        assert ks_log10_p(found.statistic, n, m) == pytest.approx(np.log10(found.pvalue), abs=1e-9)


def test_ks_in_log10_does_not_jump_where_a_float_ends() -> None:
    """p of 541 against 541 separated items is below the smallest float; it jumped by 90 decades there."""
    import math

    from zobench.unlearning.metrics.truth_ratio import ks_log10_p

    sizes = range(530, 560)
    found = [ks_log10_p(1.0, n, n) for n in sizes]
    assert found == pytest.approx([math.log10(2) - math.log10(math.comb(2 * n, n)) for n in sizes], abs=1e-9)
    steps = np.diff(found)
    assert np.all(np.abs(steps + math.log10(4)) < 0.01)
    below_one = [ks_log10_p((n - 1) / n, n, n) for n in sizes]
    assert np.all(np.abs(np.diff(below_one) + math.log10(4)) < 0.01)
