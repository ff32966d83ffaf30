"""Comparison example by example: counts computed by hand, tests from zobench.metrics, seeds kept separate."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import Entry, Study, make_synthetic

from zobench.metrics import paired
from zobench.report import headtohead
from zobench.report.analysis import analyse


def test_counts_and_tests_by_hand():
    seeds = np.array([1, 1, 1, 1, 2, 2, 2])
    a = np.array([1.0, 1, 1, 0, 0, 1, np.nan])
    b = np.array([0.0, 0, 0, 1, 0, 1, 1])
    found = headtohead.examples_of(seeds, a, b)
    # seed 1: three for a, one for b, p = 2 (1 + 4) / 16 = 0.625, times two seeds by Holm; seed 2: none
    assert found["seeds"] == [[1, 3, 1, 1.0], [2, 0, 0, 1.0]]
    assert found["n"] == 6
    assert paired.mcnemar_p(3, 1) == pytest.approx(0.625)
    interval = paired.paired_bootstrap_groups(
        [np.array([1.0, 1, 1, -1]), np.zeros(2)], resamples=headtohead.RESAMPLES
    )
    assert interval.low < -1, "points of accuracy that there are not"
    assert interval.high > 1
    assert (found["low"], found["high"]) == (-1.0, 1.0)
    assert headtohead.examples_of(seeds, a, None) == {}
    assert headtohead.examples_of(seeds, a, np.full(7, np.nan)) == {}


def test_every_pair_of_a_page_agrees_with_the_predictions(tmp_path):
    study = Study([Entry("x", 0.1), Entry("y"), Entry("z", -0.2)], attacks=(), steps=2)
    found = analyse(make_synthetic(tmp_path, study, compact=True))
    names = [s.row for s in found.ranking.standings]
    pairs = headtohead.collect(found.source, found.ranking, found.runs, names)
    assert len(pairs) == 3
    answers = found.source.sql("select run_id, example_id, correct from predictions").merge(
        found.runs[["run_id", "row", "block", "seed"]], on="run_id"
    )
    for pair in pairs:
        a, b = names[pair["a"]], names[pair["o"]]
        for block in pair["blocks"]:
            for seed, only_a, only_b, _ in block["seeds"]:
                here = answers[
                    (answers["block"] == found.ranking.blocks[block["b"]]) & (answers["seed"] == seed)
                ]
                wide = here.pivot_table(index="example_id", columns="row", values="correct", aggfunc="first")
                assert only_a == int((wide[a] & ~wide[b]).sum())
                assert only_b == int((~wide[a] & wide[b]).sum())


def test_sign_flips_are_the_permutation_test_and_need_common_seeds():
    values = {
        "a": {"t": np.array([0.7, 0.8, 0.9])},
        "b": {"t": np.array([0.6, 0.6, 0.6])},
        "c": {"u": np.ones(3)},
    }
    assert headtohead.sign_flips(values, "a", "b") == 0.25
    assert headtohead.sign_flips(values, "a", "c") is None
    values["b"]["t"] = np.ones(2)
    assert headtohead.sign_flips(values, "a", "b") is None
