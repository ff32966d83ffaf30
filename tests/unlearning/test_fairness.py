"""Stop rule, matching, noise controls, choice of settings."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from unlearning_models import tiny_llama

from zobench.suite.schema import Tune
from zobench.unlearning.base import Passes
from zobench.unlearning.fairness import (
    Cost,
    LinePoint,
    Trial,
    choose,
    cost,
    matched,
    noise_instead,
    noise_on_top,
    position_of_level,
    selection_score,
    stop_rule,
    worst_case,
)
from zobench.unlearning.probes.weights import distance


def test_stop_at_the_first_checkpoint_at_or_below_the_oracle():
    assert stop_rule([0.9, 0.3, 0.02, 0.5], 0.02).index == 2
    late = stop_rule([0.9, math.nan, 0.3], 0.02)
    assert (late.index, late.reached) == (2, False)
    with pytest.raises(ValueError, match="at least one"):
        stop_rule([], 0.1)


LINE = [LinePoint(0, 1.0, 1.0), LinePoint(0.5, 0.6, 0.9), LinePoint(1, 0.2, 0.5)]


def test_matching_interpolates_both_scores():
    found = matched(LINE, "forget", 0.4)
    assert (found.position, found.forget, found.retain) == pytest.approx((0.75, 0.4, 0.7))
    kept = matched(list(reversed(LINE)), "retain", 0.95)
    assert (kept.position, kept.forget, kept.retain) == pytest.approx((0.25, 0.8, 0.95))
    assert matched(LINE, "retain", 1.0).position == 0


def test_a_level_out_of_reach_is_said_so():
    found = matched(LINE, "forget", 0.1)
    assert (found.position, found.forget, found.reached) == (1, 0.2, False)
    with pytest.raises(ValueError, match="already below"):
        matched(LINE, "retain", 1.1)
    with pytest.raises(ValueError, match="two measured points"):
        matched(LINE[:1], "forget", 0.5)


def test_a_line_that_rises_again_is_met_where_it_first_falls():
    bumpy = [LinePoint(0, 1, 1), LinePoint(0.4, 0.2, 0.9), LinePoint(0.7, 0.8, 0.8), LinePoint(1, 0.1, 0.7)]
    assert matched(bumpy, "forget", 0.5).position == pytest.approx(0.25)


def test_bisection_finds_the_measured_level():
    a, b = tiny_llama(1), tiny_llama(2)
    total = distance(a, b)
    position = position_of_level(a, b, lambda m: 1 - distance(a, m) / total, 0.3, rounds=10)
    assert position == pytest.approx(0.7, abs=1e-3)
    assert 1 - position >= 0.3 - 1e-6
    assert position_of_level(a, b, lambda m: 1.0, 0.3) == 1.0


def test_noise_controls_have_the_asked_distance():
    a = tiny_llama(1)
    b = copy.deepcopy(a)
    with torch.no_grad():
        next(b.parameters()).add_(0.05)
    own = distance(a, b)
    assert distance(a, noise_instead(a, b, seed=0)) == pytest.approx(own, rel=1e-5)
    assert distance(a, noise_on_top(a, b, 2 * own, seed=0)) == pytest.approx(2 * own, rel=0.03)
    assert distance(a, noise_on_top(a, b, own, seed=0)) == pytest.approx(own)
    with pytest.raises(ValueError, match="already"):
        noise_on_top(a, b, own / 2, seed=0)


def test_choice_prefers_retention_among_those_that_forget():
    trials = [Trial(1e-4, 0.5, 1.0), Trial(3e-4, 0.02, 0.9), Trial(1e-3, 0.01, 0.6)]
    trials.append(Trial(3e-3, math.nan, 1.0))
    best = choose(trials, oracle=0.02)
    assert (best.trial.value, best.reached, best.on_edge) == (3e-4, True, False)
    worse = choose(trials, oracle=0.001)
    assert (worse.trial.value, worse.reached) == (1e-3, False)
    assert choose(trials[:2], oracle=0.02).on_edge
    with pytest.raises(ValueError, match="finite"):
        choose(trials[3:], oracle=0.1)


def test_worst_case_is_the_highest_forget_score():
    assert worst_case([(0, 0.1), (10, 0.2), (0, 0.1), (10, 0.5)]) == {0: 0.1, 10: 0.5}


def test_cost_counts_passes():
    npo = Passes(loss=2, reference=1)
    assert cost(npo, 10, losses=2) == Cost(40, 0, 10)
    assert cost(npo, 10, gradients=1) == Cost(20, 20, 10)
    assert cost(Passes(loss=2, prepare=1), 5, losses=4) == Cost(45, 0, 0)


def test_the_rule_of_choice_as_one_number():
    trials = [Trial(lr, f, r) for lr, f, r in ((1, 0.9, 1.0), (2, 0.3, 0.9), (3, 0.02, 0.4), (4, 0.01, 0.7))]
    for level in (0.001, 0.02, 0.5, 1.0):
        best = max(trials, key=lambda t: selection_score(t.forget, t.retain, level))
        assert best == choose(trials, level).trial
    assert math.isnan(selection_score(math.nan, 1.0, 0.5))
    assert Tune(space={"lr": [1e-3]}, seeds=(0,)).metric is None
