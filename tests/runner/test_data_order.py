"""Minibatches and shuffled labels are functions of their arguments; divergence is distinguished from
noise."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zobench.data.example import Example
from zobench.runner.data_order import minibatch_rows, shuffle_labels
from zobench.runner.divergence import WINDOW, DivergenceGuard


@given(st.integers(0, 9), st.integers(1, 30), st.integers(1, 40), st.integers(0, 20))
def test_minibatches_are_epochs_cut_into_pieces(seed, rows, batch, index):
    stream = [r for i in range(index + 1) for r in minibatch_rows(seed, "t", rows, batch, i)]
    for start in range(0, len(stream) - rows + 1, rows):
        assert sorted(stream[start : start + rows]) == list(range(rows))
    assert minibatch_rows(seed, "t", rows, batch, index) == tuple(stream[-batch:])


def test_minibatches_depend_on_seed_and_task():
    base = minibatch_rows(0, "t", 1000, 16, 3)
    assert minibatch_rows(1, "t", 1000, 16, 3) != base
    assert minibatch_rows(0, "u", 1000, 16, 3) != base
    assert minibatch_rows(0, "t", 1000, 16, 4) != base


def test_minibatches_are_these_on_every_machine():
    assert minibatch_rows(0, "task {}", 10, 4, 0) == KNOWN


KNOWN = (5, 1, 9, 2)


def test_no_rows():
    with pytest.raises(ValueError, match="no training examples"):
        minibatch_rows(0, "t", 0, 4, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([2, 3])), max_size=30), st.integers(0, 5))
def test_shuffled_labels_are_the_same_labels_elsewhere(labels, seed):
    rows = [
        Example(str(i), {"t": f"x{i}"}, label=y % k, candidates=tuple("abc"[:k]))
        for i, (y, k) in enumerate(labels)
    ]
    shuffled = shuffle_labels(rows, seed)
    assert [e.id for e in shuffled] == [e.id for e in rows]
    assert [e.text for e in shuffled] == [e.text for e in rows]
    for k in (2, 3):
        mine = [e for e in rows if len(e.candidates) == k]
        after = [e for e in shuffled if len(e.candidates) == k]
        assert Counter(e.label for e in mine) == Counter(e.label for e in after)
    assert shuffled == shuffle_labels(rows, seed)


def test_shuffled_labels_are_near_chance():
    rows = [Example(str(i), {}, label=i % 2) for i in range(2000)]
    same = sum(a.label == b.label for a, b in zip(rows, shuffle_labels(rows, 0), strict=True))
    assert abs(same - 1000) < 5 * math.sqrt(2000) / 2


def test_divergence_needs_many_bad_losses():
    guard = DivergenceGuard()
    assert not any(guard.see(x) for x in [0.7] * 10 + [math.nan] * 19 + [0.6] + [math.inf] * 19)
    assert guard.see(math.inf)


def test_divergence_by_size_is_of_a_mean():
    guard = DivergenceGuard()
    assert not any(guard.see(x) for x in [0.7] * WINDOW + [150.0])
    again = DivergenceGuard.of(guard.state())
    assert again.see(150.0) == guard.see(150.0) != ""
    calm = DivergenceGuard()
    assert not any(calm.see(x) for x in [60.0] * 50 + [300.0] * 50)
