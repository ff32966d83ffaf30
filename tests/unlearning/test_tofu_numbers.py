"""TOFU's numbers from stored per-item losses: every score as open-unlearning's definitions give it, written
out here item by item, against what a run would record from the same model outputs.

The losses are those of twenty rows of forget10 under a small full model and its oracle
(``tofu_losses.json``; no text of TOFU is in it).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from scipy import stats

from zobench.unlearning.evaluate import MeasuredFacts, PartScores, against_oracle, scores
from zobench.unlearning.rows import FactRow
from zobench.unlearning.scoring import ItemScore, TruthLosses

STORED = json.loads((Path(__file__).parent / "tofu_losses.json").read_text())


def part(name):
    """The stored outputs of one model as a run holds them."""
    found = STORED[name]
    items = []
    for nll, count in zip(found["nll"], found["tokens"], strict=True):
        flat = (False,) * count
        items.append(ItemScore((-nll / count,) * count, flat, (0.0,) * count, (1.0,) * count, flat, flat))
    rows = tuple(FactRow(id=i, question="?", answer="!") for i in STORED["rows"])
    truth = TruthLosses(tuple(found["paraphrased"]), tuple(tuple(w) for w in found["perturbed"]))
    return MeasuredFacts({"forget": PartScores(rows, tuple(items), truth)})


def ratios(name):
    """p(wrong)/p(correct) with the losses of the wrong answers averaged first, as the released code does."""
    found = STORED[name]
    wrong = [math.exp(-sum(w) / len(w)) for w in found["perturbed"]]
    right = [math.exp(-c) for c in found["paraphrased"]]
    return [w / (c + 1e-10) for w, c in zip(wrong, right, strict=True)], right, wrong


@pytest.mark.parametrize("name", ["full", "oracle"])
def test_probability_and_the_three_truth_ratios(name):
    found = scores(part(name))
    stored = STORED[name]
    expected = [math.exp(-n / c) for n, c in zip(stored["nll"], stored["tokens"], strict=True)]
    assert found["forget_probability"] == pytest.approx(sum(expected) / 20, rel=1e-6)
    r, right, wrong = ratios(name)
    closer = sum(min(x, 1 / (x + 1e-10)) for x in r) / 20
    assert found["forget_truth_ratio_forget"] == pytest.approx(closer, rel=1e-5)
    assert found["forget_truth_ratio_utility"] == pytest.approx(
        sum(max(0.0, 1 - x) for x in r) / 20, rel=1e-5, abs=1e-7
    )
    known = sum(c / (c + w + 1e-10) for c, w in zip(right, wrong, strict=True)) / 20
    assert found["forget_truth_ratio_knowledge"] == pytest.approx(known, rel=1e-5)


def test_forget_quality_is_the_p_value_of_the_two_samples_of_ratios():
    ours, theirs = ratios("full")[0], ratios("oracle")[0]
    found = against_oracle(part("full"), part("oracle"))
    p = stats.ks_2samp(ours, theirs).pvalue
    assert 10 ** found["forget_quality_log10_p"] == pytest.approx(p, rel=1e-6)
    points = sorted([*ours, *theirs])
    steps = [abs(sum(x <= t for x in ours) - sum(x <= t for x in theirs)) / 20 for t in points]
    assert found["forget_quality_d"] == pytest.approx(max(steps))
    itself = against_oracle(part("oracle"), part("oracle"))
    assert (itself["forget_quality_d"], itself["forget_quality_log10_p"]) == (0, 0)


def test_the_stored_models_differ_in_what_was_forgotten():
    assert len(STORED["rows"]) == len(set(STORED["rows"])) == 20
    assert scores(part("full"))["forget_probability"] > 2 * scores(part("oracle"))["forget_probability"]
