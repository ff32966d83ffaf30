"""Calibration numbers against hand-computed values and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zobench.metrics.calibration import (
    accuracy_with_stderr,
    brier,
    calibration,
    expected_calibration_error,
    nll,
)


def log_rows(*rows):
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, dtype=float))


def test_ece_by_hand():
    # confidences 0.9 (right), 0.8 (wrong), 0.6 (right), 0.6 (wrong); 2 bins on [0, 1]: all in the upper one
    p = log_rows([0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.6, 0.4])
    gold = [0, 1, 1, 1]
    assert expected_calibration_error(p, gold, bins=2) == pytest.approx(abs(2 - 2.9) / 4)
    # ten bins: 0.9 -> bin 8, 0.8 -> bin 7, both 0.6 -> bin 5
    by_hand = (abs(1 - 0.9) + abs(0 - 0.8) + abs(1 - 1.2)) / 4
    result = calibration(p, gold, bins=10)
    assert result.value == pytest.approx(by_hand)
    assert result.worst == pytest.approx(0.8)
    assert result.occupied == 3


def test_equal_mass_by_hand():
    p = log_rows([0.95, 0.05], [0.9, 0.1], [0.7, 0.3], [0.6, 0.4])
    gold = [0, 0, 1, 0]  # sorted by confidence: 0.6 right, 0.7 wrong | 0.9 right, 0.95 right
    by_hand = (abs(1 - 1.3) + abs(2 - 1.85)) / 4
    assert expected_calibration_error(p, gold, bins=2, scheme="equal-mass") == pytest.approx(by_hand)


def test_bins_are_closed_above():
    p = log_rows([0.5, 0.5], [0.5, 0.5])
    assert calibration(p, [0, 1], bins=2).occupied == 1
    assert expected_calibration_error(p, [0, 1], bins=2) == pytest.approx(0.0)


def test_brier_and_nll_against_sklearn():
    from sklearn.metrics import brier_score_loss, log_loss

    rng = np.random.default_rng(0)
    p1 = rng.uniform(0.01, 0.99, 300)
    gold = (rng.uniform(size=300) < p1).astype(int)
    logs = np.log(np.stack([1 - p1, p1], axis=1))
    assert brier(logs, gold) == pytest.approx(2 * brier_score_loss(gold, p1))
    assert nll(logs, gold) == pytest.approx(log_loss(gold, p1))


def test_multiclass_by_hand():
    p = log_rows([0.5, 0.3, 0.2], [0.1, 0.1, 0.8])
    assert brier(p, [1, 2]) == pytest.approx((0.25 + 0.49 + 0.04 + 0.01 + 0.01 + 0.04) / 2)
    assert nll(p, [1, 2]) == pytest.approx(-(np.log(0.3) + np.log(0.8)) / 2)


def test_a_calibrated_model_has_small_error_and_an_overconfident_one_its_gap():
    rng = np.random.default_rng(1)
    p1 = rng.uniform(0.5, 1.0, 200_000)
    hit = rng.uniform(size=len(p1)) < p1
    logs = np.log(np.stack([1 - p1, p1], axis=1))
    assert expected_calibration_error(logs, hit.astype(int)) < 0.01
    worse = hit & (rng.uniform(size=len(p1)) < 0.8)  # a fifth of the right answers spoiled: 0.15 of all
    assert expected_calibration_error(logs, worse.astype(int)) == pytest.approx(0.15, abs=0.01)


def test_ragged_rows_and_zero_probability():
    rows = [np.log([0.5, 0.5]), np.log([0.2, 0.2, 0.6])]
    assert brier(rows, [0, 2]) == pytest.approx((0.5 + 0.04 + 0.04 + 0.16) / 2)
    assert nll(log_rows([1.0, 0.0]), [1]) == np.inf


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(2, 5),
    st.integers(1, 20),
    st.sampled_from(["equal-width", "equal-mass"]),
    st.integers(0, 10**6),
)
def test_bounds_and_order_invariance(n, classes, bins, scheme, seed):
    rng = np.random.default_rng(seed)
    logs = np.log(rng.dirichlet(np.ones(classes), n))
    gold = rng.integers(0, classes, n)
    result = calibration(logs, gold, bins, scheme)
    assert 0 <= result.value <= result.worst + 1e-12 <= 1 + 1e-9
    perm = rng.permutation(n)
    assert calibration(logs[perm], gold[perm], bins, scheme).value == pytest.approx(result.value)
    assert 0 <= brier(logs, gold) <= 2


def test_one_bin_is_the_gap_between_accuracy_and_mean_confidence():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(3), 50)
    gold = rng.integers(0, 3, 50)
    gap = abs((p.argmax(1) == gold).mean() - p.max(1).mean())
    for scheme in ("equal-width", "equal-mass"):
        assert expected_calibration_error(np.log(p), gold, 1, scheme) == pytest.approx(gap)


def test_accuracy_and_its_standard_error():
    value, stderr = accuracy_with_stderr([True, False, True, True])
    assert value == 0.75
    assert stderr == pytest.approx(np.sqrt(0.75 * 0.25 / 3))
    assert np.isnan(accuracy_with_stderr([True])[1])


@pytest.mark.parametrize(
    ("logs", "gold", "message"),
    [
        ([], [], "at least one example"),
        (log_rows([0.5, 0.4]), [0], "row 0: probabilities sum to 0.9"),
        (log_rows([0.5, 0.5]), [2], "row 0: label 2 is not one of 2 classes"),
        (log_rows([0.5, 0.5]), [0, 1], "labels of shape"),
        (log_rows([0.5, 0.5]), [0.5], "integer class indices"),
        (np.array([[np.nan, 0.0]]), [0], "sum to nan"),
    ],
)
def test_bad_input_is_named(logs, gold, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(logs, gold)


def test_unknown_scheme():
    with pytest.raises(ValueError, match="equal-mass"):
        expected_calibration_error(log_rows([0.5, 0.5]), [0], scheme="quantile")
