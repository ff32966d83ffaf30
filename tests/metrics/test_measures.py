"""Bounds and direction of every metric that zobench measures, by name."""

from __future__ import annotations

import pytest

from zobench.metrics.measures import GAP, SHARE, bounds, higher_is_better

MORE = [
    "accuracy",
    "strict_accuracy",
    "f1",
    "em",
    "exact_match",
    "acc_norm",
    "certified_accuracy_at_0.5",
    "defence_success_at_5",
    "forget_quality",
    "retain_knowmem",
    "utility",
    "retained",
    "auc:loss",
    "gradient_cosine",
]
LESS = [
    "loss",
    "nll",
    "brier",
    "ece_15_equal_width",
    "perplexity",
    "word_perplexity",
    "bits_per_byte",
    "forget_probability",
    "forget_value_probability",
    "forget_choice_accuracy",
    "forget_rouge_l_recall",
    "forget_extraction_strength",
    "rmse",
]
UNBOUNDED = [
    "loss",
    "nll",
    "brier",
    "perplexity",
    "bits_per_byte",
    "queries",
    "tokens_before",
    "gradient_cosine",
    "rmse",
    "distance",
]


@pytest.mark.parametrize("name", MORE)
def test_more_is_better(name: str) -> None:
    assert higher_is_better(name)


@pytest.mark.parametrize("name", LESS)
def test_less_is_better(name: str) -> None:
    assert not higher_is_better(name)


def test_shares_have_bounds_and_others_none() -> None:
    shares = [
        "accuracy",
        "f1",
        "em",
        "exact_match",
        "forget_value_probability",
        "success_rate",
        "ece_15_equal_width",
    ]
    assert {bounds(name) for name in shares} == {SHARE}
    assert {bounds(name) for name in ("drop", "net_success_rate")} == {GAP}
    assert {bounds(name) for name in UNBOUNDED} == {None}
