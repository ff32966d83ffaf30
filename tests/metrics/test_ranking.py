"""Ranks, tie groups, mean ranks and profiles against known values; coverage of rank sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zobench.metrics import paired as pt
from zobench.metrics import ranking as rk


def study(values, names=None):
    """Long frame from an array (rows, tasks, seeds)."""
    names = names or [f"m{i}" for i in range(len(values))]
    return pd.DataFrame(
        [
            {"row": n, "task": t, "seed": s, "value": v}
            for n, cube in zip(names, values, strict=True)
            for t, g in enumerate(cube)
            for s, v in enumerate(g)
        ]
    )


def test_mean_ranks_by_hand_take_a_task_once_whatever_its_seeds():
    values = {
        "a": {"x": 3.0, "y": 3.0, "z": 1.0},
        "b": {"x": 2.0, "y": 2.0, "z": 2.0},
        "c": {"x": 1.0, "y": 2.0, "z": 3.0, "only here": 9.0},
    }
    found = rk.mean_ranks(values)
    assert found == pytest.approx({"a": 5 / 3, "b": 6.5 / 3, "c": 6.5 / 3})
    assert next(iter(found)) == "a"
    assert rk.mean_ranks(values, higher=False)["a"] == pytest.approx(7 / 3)
    with pytest.raises(ValueError, match="two rows"):
        rk.mean_ranks({"a": {"x": 1.0}})


def test_rank_sets_by_hand():
    better = {("a", "c"): True, ("b", "c"): True}
    assert rk.rank_sets(["a", "b", "c"], better) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_rank_sets_cover_all_true_ranks_at_once():
    rng = np.random.default_rng(2)
    truth = np.array([0.74, 0.72, 0.72, 0.65])
    may = {"m0": (1, 1), "m1": (2, 3), "m2": (2, 3), "m3": (4, 4)}
    names, studies, missed = list(may), 300, 0
    for _ in range(studies):
        v = truth[:, None] + rng.normal(0, 0.02, (4, 6))
        pairs = list(combinations(range(4), 2))
        p = pt.holm([pt.paired_t([v[i] - v[j]]) for i, j in pairs])
        better = {}
        for (i, j), q in zip(pairs, p, strict=True):
            if q < 0.05:
                win, lose = (i, j) if v[i].mean() > v[j].mean() else (j, i)
                better[names[win], names[lose]] = True
        sets = rk.rank_sets(names, better)
        missed += any(not (sets[n][0] <= may[n][0] and sets[n][1] >= may[n][1]) for n in names)
    assert stats.binomtest(missed, studies, 0.05, alternative="greater").pvalue > 1e-4, missed / studies


def test_tie_groups_by_hand():
    assert rk.tie_groups(list("abc"), {}) == [["a", "b", "c"]]
    assert rk.tie_groups(list("abc"), {("a", "c"): True}) == [["a", "b"], ["b", "c"]]
    # an inner pair may differ while the outer one does not: groups need not be contiguous
    assert rk.tie_groups(list("abc"), {("b", "a"): True}) == [["a", "c"], ["b", "c"]]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6), st.floats(0, 1))
def test_tie_groups_are_exactly_the_undistinguished_pairs(k, seed, share):
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(k)]
    different = {p: bool(rng.uniform() < share) for p in combinations(names, 2)}
    groups = rk.tie_groups(names, different)
    for pair, apart in different.items():
        assert any(set(pair) <= set(g) for g in groups) != apart
    assert {n for g in groups for n in g} == set(names)
    assert not any(set(g) < set(h) for g in groups for h in groups)


def test_profiles_by_hand():
    assert rk.performance_profile([0.2, 0.5, 0.9], [0.0, 0.2, 0.6]) == pytest.approx([1, 2 / 3, 1 / 3])
    times = pd.DataFrame({"a": [10.0, 20.0, np.inf], "b": [20.0, 10.0, np.inf]})
    found = rk.ratio_profile(times, [1, 2])
    assert found["a"].tolist() == pytest.approx([1 / 3, 2 / 3])
