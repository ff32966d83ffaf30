"""Time to target with censoring, areas and profiles, compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic import Entry, Study, make_synthetic

from zobench.metrics.curves import area_under_curve
from zobench.report import reaching
from zobench.report.analysis import analyse
from zobench.report.leaderboard import Leaderboard
from zobench.report.source import seed_curves


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One row reaches 0.8 in every run, one in none; a control without training has no curve."""
    entries = [
        Entry("fast", 0.15, sd=0.0),
        Entry("slow", -0.05, sd=0.0),
        Entry("zero-shot", -0.2, "control", fields={"budget_forwards": 0}),
    ]
    study = Study(entries, tasks={"a": 0.78, "b": 0.78}, shared_sd=0.0, examples=0, attacks=())
    folder = make_synthetic(tmp_path_factory.mktemp("reaching"), study, compact=True)
    return analyse(folder, Leaderboard(title="x", score={"target": 0.8}))


def test_misses_are_censored_not_dropped(found):
    rows = {r.row: r for r in reaching.collect(found.source, found.ranking, found.runs).rows}
    assert set(rows) == {"fast", "slow"}
    assert (rows["fast"].reached, rows["fast"].runs) == (6, 6)
    assert (rows["slow"].reached, rows["slow"].runs) == (0, 6)
    assert rows["slow"].median["forwards"] == np.inf
    assert rows["slow"].restricted == 600
    assert rows["fast"].median["forwards"] < 600
    # the axes are read off at the same measured point: 480 tokens and 0.02 s a forward
    for axis, unit in (("tokens", 480), ("seconds", 0.02)):
        assert rows["fast"].median[axis] == pytest.approx(unit * rows["fast"].median["forwards"])


def test_times_and_areas_are_those_of_the_single_curves(found):
    curves = seed_curves(found.source)
    rows = {r.row: r for r in reaching.collect(found.source, found.ranking, found.runs).rows}
    for name in ("fast", "slow"):
        mine = curves[curves["row"] == name].groupby("run_id")
        areas = [area_under_curve(g["forwards"].tolist(), g["value"].tolist()) for _, g in mine]
        assert rows[name].area.value == pytest.approx(np.mean(areas))
        first = [g.loc[g["value"] >= 0.8, "forwards"].min() for _, g in mine]
        if name == "fast":
            assert rows[name].median["forwards"] == sorted(first)[2]
            assert rows[name].restricted == pytest.approx(np.mean(first))


def test_profiles_count_runs(found):
    collected = reaching.collect(found.source, found.ranking, found.runs)
    drawn = reaching.profiles(collected, found.ranking)
    names = [s.row for s in found.ranking.standings]
    for place, shares, low, high in drawn["scores"]:
        values = np.concatenate([*found.ranking.values[names[place]].values()])
        at = np.array(drawn["thresholds"])
        # thresholds are shown with five digits; none of them is that close to a value
        assert shares == pytest.approx([(values > t).mean() for t in at], abs=1e-4)
        assert shares[0] == 1.0
        assert shares[-1] == 0.0
        # six runs: none below says at least 54 %, all below at most 46 % (Clopper and Pearson)
        assert (low[0], high[0]) == pytest.approx((0.025 ** (1 / 6), 1.0), abs=1e-4)
        assert (low[-1], high[-1]) == pytest.approx((0.0, 1 - 0.025 ** (1 / 6)), abs=1e-4)
        assert all(a <= s <= b for a, s, b in zip(low, shares, high, strict=True))
    reach = {names[place]: shares for place, shares, _, _ in drawn["reach"]}
    assert reach["fast"][0] == 1.0
    assert set(reach["slow"]) == {0.0}


def test_a_row_that_needs_twice_as_long_stands_at_two(found):
    times = pd.DataFrame({"x": [100.0, 100.0], "y": [200.0, np.inf]}, index=["t1", "t2"])
    drawn = reaching.profiles(reaching.Reaching({}, (), times), found.ranking)
    assert drawn["reach"] == []  # rows that are not ranked are not drawn
    renamed = times.rename(columns={"x": "fast", "y": "slow"})
    drawn = reaching.profiles(reaching.Reaching({}, (), renamed), found.ranking)
    names = [s.row for s in found.ranking.standings]
    slow = next(shares for place, shares, _, _ in drawn["reach"] if names[place] == "slow")
    assert [s for r, s in zip(drawn["ratios"], slow, strict=True) if r < 2] == pytest.approx([0.0] * 9)
    assert slow[-1] == 0.5
