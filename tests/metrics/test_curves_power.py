"""Curves compared with values computed by hand and with statsmodels' survival function; power compared with
statsmodels and with simulation."""

from __future__ import annotations

import numpy as np
import pytest

from zobench.metrics import curves as cv
from zobench.metrics import paired as pt
from zobench.metrics import power as pw

X, Y = [0, 100, 200, 400], [0.5, 0.6, 0.8, 0.7]


def test_area_by_hand_and_carried_on():
    area = (100 * 0.55 + 100 * 0.7 + 200 * 0.75) / 400
    assert cv.area_under_curve(X, Y) == pytest.approx(area)
    assert cv.area_under_curve(X, Y, 800) == pytest.approx((area * 400 + 0.7 * 400) / 800)
    assert cv.area_under_curve(X, Y, 150) == pytest.approx((100 * 0.55 + 50 * 0.65) / 150)
    with pytest.raises(ValueError, match="not past"):
        cv.area_under_curve(X, Y, 0)


def test_time_to_target():
    assert cv.time_to_target(X, Y, 0.75) == cv.TimeToTarget(200, True)
    assert cv.time_to_target(X, Y, 0.7, reading="linear").time == pytest.approx(150)
    assert cv.time_to_target(X, Y, 0.75, hold=2) == cv.TimeToTarget(400, False)
    assert cv.time_to_target(X, Y, 0.95) == cv.TimeToTarget(400, False)
    assert cv.time_to_target(X, [2, 1, 0.5, 0.4], 0.5, higher=False) == cv.TimeToTarget(200, True)
    assert cv.time_to_target(X, Y, 0.4, reading="linear") == cv.TimeToTarget(0, True)


def test_median_time_against_statsmodels():
    from statsmodels.duration.survfunc import SurvfuncRight

    rng = np.random.default_rng(0)
    for _ in range(20):
        time = rng.integers(1, 12, 15).astype(float)
        status = rng.uniform(size=15) < 0.7
        ours = cv.median_time([cv.TimeToTarget(t, bool(s)) for t, s in zip(time, status, strict=True)])
        ref = SurvfuncRight(time, status.astype(int)).quantile(0.5)
        assert ours == (np.inf if np.isnan(ref) else ref)


def test_restricted_mean_counts_misses_as_the_limit():
    times = [cv.TimeToTarget(100, True), cv.TimeToTarget(400, False), cv.TimeToTarget(700, True)]
    assert cv.restricted_mean_time(times, 400) == pytest.approx(300)
    with pytest.raises(ValueError, match="stopped at 400"):
        cv.restricted_mean_time(times, 500)


def test_bad_curves():
    with pytest.raises(ValueError, match="must not decrease"):
        cv.area_under_curve([2, 1], [0, 0])
    with pytest.raises(ValueError, match="equal non-empty"):
        cv.area_under_curve([], [])


def test_power_against_statsmodels():
    from statsmodels.stats.power import TTestPower

    for d, n in ((0.5, 10), (1.2, 5), (0.2, 40)):
        ref = TTestPower().power(d, n, 0.05)
        assert pw.paired_power(d, [1.0], n) == pytest.approx(ref, abs=1e-6)


def test_seeds_needed_against_statsmodels():
    from statsmodels.stats.power import TTestPower

    x = np.array([0.1, 0.5, 0.9, 0.3, 0.7])
    d = x.mean() / x.std(ddof=1) / 4
    group = (x - x.mean()) + x.mean() / 4
    need = int(np.ceil(TTestPower().solve_power(d, alpha=0.05, power=0.8)))
    found = pw.seeds_to_separate([group])
    assert found.seeds + found.more == need


def test_power_over_tasks_matches_simulation():
    rng = np.random.default_rng(1)
    sd, d, n = np.array([0.02, 0.03, 0.05]), 0.02, 5
    wins = [pt.paired_t(list(d + rng.normal(size=(3, n)) * sd[:, None])) < 0.05 for _ in range(2000)]
    assert pw.paired_power(d, sd**2, n) == pytest.approx(np.mean(wins), abs=0.04)


def test_limits_of_the_plan():
    assert pw.seeds_to_separate([np.array([0.1, 0.1001, 0.0999])]).more == 0
    assert pw.seeds_to_separate([np.array([1.0, -1.0])]).more is None
    assert pw.paired_power(0.5, [1.0], 1) == 0.0
    with pytest.raises(ValueError, match="two common seeds"):
        pw.seeds_to_separate([np.array([0.1])])
