"""The matched point is measured at its level; tuning prefers retention among trials that forget."""

from __future__ import annotations

import math

import pytest
from unlearning_models import tiny_llama

from zobench.suite.schema import Tune
from zobench.unlearning.fairness import position_of_level, selection_score
from zobench.unlearning.probes.weights import distance


def test_bisection_finds_the_measured_level():
    a, b = tiny_llama(1), tiny_llama(2)
    total = distance(a, b)
    position = position_of_level(a, b, lambda m: 1 - distance(a, m) / total, 0.3, rounds=10)
    assert position == pytest.approx(0.7, abs=1e-3)
    assert 1 - position >= 0.3 - 1e-6
    assert position_of_level(a, b, lambda m: 1.0, 0.3) == 1.0


def best(trials, oracle):
    """Of (forget, retain): at or below the oracle's forget score the best retained score, else the lowest
    forget score."""
    enough = [t for t in trials if t[0] <= oracle]
    return max(enough, key=lambda t: t[1]) if enough else min(trials)


def test_tuning_prefers_retention_among_trials_that_forget():
    trials = [(0.9, 1.0), (0.3, 0.9), (0.02, 0.4), (0.01, 0.7)]
    assert [best(trials, level)[0] for level in (0.001, 0.02, 0.5, 1.0)] == [0.01, 0.01, 0.3, 0.9]
    for level in (0.001, 0.02, 0.5, 1.0):
        assert max(trials, key=lambda t: selection_score(*t, level)) == best(trials, level)
    assert math.isnan(selection_score(math.nan, 1.0, 0.5))
    assert math.isnan(selection_score(0.1, math.nan, 0.5))
    assert Tune(space={"lr": [1e-3]}, seeds=(0,)).metric is None
