"""Verdicts: the four words on known tests, one correction over a family of tests, error rates by
simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from zobench.metrics import verdicts
from zobench.metrics.intervals import Interval, stratified_groups
from zobench.metrics.paired import holm, paired_t


def differences(rng, means, seeds=8, sd=0.006):
    groups = [rng.normal(mean, sd, seeds) for mean in means]
    return [stratified_groups([g]) for g in groups], [paired_t([g]) for g in groups]


def one(value: float, stderr: float, df: float = 4.0) -> tuple[Interval, float]:
    half = float(stats.t.ppf(0.975, df)) * stderr
    p = 2 * float(stats.t.sf(abs(value) / stderr, df)) if stderr else float("nan")
    return Interval(value, value - half, value + half, stderr, df, 5, 0.95, "t"), p


@pytest.mark.parametrize(
    ("value", "stderr", "margin", "higher", "word"),
    [
        (0.1, 0.01, 0.02, True, "better"),
        (-0.1, 0.01, 0.02, True, "worse"),
        (0.1, 0.01, 0.02, False, "worse"),
        (-0.1, 0.01, 0.02, False, "better"),
        (0.001, 0.004, 0.02, True, "equivalent"),
        (0.001, 0.004, 0.0, True, "undecided"),
        (0.001, 0.02, 0.02, True, "undecided"),
        (0.01, 0.001, 0.02, True, "better"),
    ],
)
def test_words(value: float, stderr: float, margin: float, higher: bool, word: str) -> None:
    interval, p = one(value, stderr)
    (said,) = verdicts.judge([interval], [p], margin=margin, higher=higher)
    assert said.word == word, "a significant difference is said even where it is inside the margin"


def test_the_test_of_equivalence_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.7, 0.01, 9), rng.normal(0.7, 0.01, 9)
    p, _, _ = ttost_paired(a, b, -0.02, 0.02)
    assert verdicts.equivalence_p([stratified_groups([a - b])], 0.02)[0] == pytest.approx(p)


def test_equivalent_alone_is_where_the_ninety_percent_interval_is_inside_the_margin() -> None:
    for stderr in (0.003, 0.005, 0.007, 0.009):
        interval, _ = one(0.005, stderr)
        inside = 0.005 + stats.t.ppf(0.95, 4.0) * stderr < 0.02
        assert (verdicts.equivalence_p([interval], 0.02)[0] < 0.05) == inside


def test_both_kinds_of_p_values_are_corrected_over_the_family() -> None:
    given, p = differences(np.random.default_rng(1), (0.0, 0.002, 0.01, 0.03))
    said = verdicts.judge(given, p, margin=0.015)
    assert [v.p for v in said] == pytest.approx(list(holm(p)))
    assert [v.p_equivalent for v in said] == pytest.approx(list(holm(verdicts.equivalence_p(given, 0.015))))
    close, p_close = one(0.0, 0.0085)
    assert verdicts.judge([close], [p_close], margin=0.02)[0].word == "equivalent"
    both = verdicts.judge([close, close], [p_close, p_close], margin=0.02)
    assert [v.word for v in both] == ["undecided", "undecided"], "two are harder to pass than one"


def test_without_spread_and_without_a_test() -> None:
    flat, p = one(0.0, 0.0)
    single = Interval(0.3, math.nan, math.nan, math.nan, 0.0, 1, 0.95, "single value")
    missing = Interval(math.nan, math.nan, math.nan, math.nan, 0.0, 0, 0.95, "none")
    said = verdicts.judge([flat, single, missing], [p, math.nan, math.nan], margin=0.02)
    assert [v.word for v in said] == ["equivalent", "undecided", "undecided"]
    assert [v.p_equivalent == 0.0 for v in said] == [True, False, False]
    assert verdicts.judge([], []) == []


def test_families_with_a_false_claim_are_at_most_the_stated_share() -> None:
    """Six differences of exactly the margin: any ``equivalent`` in at most 5 % of families; six of zero: any
    ``better`` or ``worse`` in at most 5 %."""
    rng, studies = np.random.default_rng(2), 400
    alike = different = 0
    for _ in range(studies):
        at_margin = verdicts.judge(*differences(rng, [0.01] * 6), margin=0.01)
        alike += any(v.p_equivalent < 0.05 for v in at_margin)
        none = verdicts.judge(*differences(rng, [0.0] * 6), margin=0.01)
        different += any(v.word in verdicts.DECIDED for v in none)
    for wrong in (alike, different):
        assert stats.binomtest(wrong, studies, 0.05, alternative="greater").pvalue > 1e-4, wrong / studies


def test_the_printed_rule_names_family_margin_and_correction() -> None:
    text = verdicts.rule("all 6 pairs", "2 points")
    assert "corrected by Holm over all 6 pairs" in text
    assert "within 2 points" in text
    assert "no margin is set" in verdicts.rule("all 6 pairs", "")
