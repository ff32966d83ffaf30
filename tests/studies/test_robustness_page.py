"""The page of the full robustness suite: verdicts on known differences; the committed page equals the one
made from the committed files."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from scipy import stats

from zobench.metrics.intervals import Interval
from zobench.studies import committed, robustness
from zobench.studies.robustness_results import flat


def interval(value: float, stderr: float) -> Interval:
    half = 3.182 * stderr
    return Interval(value, value - half, value + half, stderr, 3.0, 4, 0.95, "t")


def test_p_is_that_of_the_t_test_behind_the_interval():
    found = flat("gap", interval(0.3, 0.3 / 3.182446))
    assert found["gap_p"] == pytest.approx(0.05, abs=1e-5)
    assert math.isnan(flat("gap", interval(0.0, 0.0))["gap_p"]), "no seed differs: no test"
    assert all(math.isnan(v) for v in flat("gap", None).values())


def study(gaps):
    attack = {"row": "zero-shot", "accuracy_before": 0.9, "accuracy": 0.5, "success_rate": 0.4}
    attack |= {"null_success_rate": 0.1, "queries": 3.0, "similarity": None, "task": "nano-sentiment"}
    attacks = [
        {**attack, "attack": name, **flat("beyond_null", interval(value, 0.01))}
        for name, value in (("harms", 0.3), ("helps", -0.3), ("nothing", 0.01))
    ]
    number = {"row": "mezo", "task": "nano-problems", "without": 0.5, "with": 0.4}
    number |= {"only_without": 9, "only_with": 1, "seeds": 4}
    numbers = [{**number, "arm": f"paired-number {i}", **flat("gap", gap)} for i, gap in enumerate(gaps)]
    finals = [
        {
            "row": "mezo",
            "task": task,
            "seed": seed,
            "metric": name,
            "value": value + seed / 10,
            "commit": "abcdefgh",
        }
        for task, name, value in (
            ("nano-sentiment", "auc:loss", 0.5),
            ("nano-topic", "accuracy", 0.6),
            ("denoised-smoothing", "certified_accuracy_at_0.5", 0.4),
        )
        for seed in (0, 1)
    ]
    base = {"row": "zero-shot", "task": "nano-sentiment", "metric": "accuracy", "value": 0.9}
    finals += [{**base, "seed": seed, "commit": "abcdefgh"} for seed in range(4)]
    return robustness.RobustnessStudy(pd.DataFrame(attacks), pd.DataFrame(numbers), pd.DataFrame(finals))


def test_verdicts_follow_the_printed_rule():
    text = robustness.page(study([interval(0.2, 0.01), interval(0.1, 0.05)]))
    assert "accuracy is better in 0, worse in 1, equivalent in 0, undecided in 1, of 2 comparisons**" in text
    assert "mean\ndifference +15.0 points" in text
    lines = {
        line.split("|")[3].strip(): line
        for line in text.splitlines()
        if line.startswith("| mezo | nano-problems")
    }
    assert "**worse**" in lines["0"]
    assert "+20.0 [+16.8, +23.2] | 9 : 1" in lines["0"]
    assert "**undecided**" in lines["1"]
    assert "Worse than the random baseline: `harms`." in text, "not the attack that does less than it"
    assert "| mezo | 55.0 [8.6, 94.1] |" in text
    assert "code abcdefg." in text


def test_two_comparisons_are_harder_to_pass_than_one():
    close = interval(0.1, 0.1 / 3.5)
    assert "worse in 1" in robustness.page(study([close]))
    assert "worse in 0" in robustness.page(study([close, close]))


def test_committed_intervals_are_those_whose_p_values_stand_beside_them():
    """The standard error that a file does not hold is found from the ends: p follows from it again."""
    kept = robustness.study()
    for table, name in ((kept.attacks, "beyond_null"), (kept.numbers, "gap")):
        for _, r in table.dropna(subset=[f"{name}_p"]).iterrows():
            found = robustness.stored_interval(r[name], r[f"{name}_low"], r[f"{name}_high"], 4)
            p = 2 * stats.t.sf(abs(found.value) / found.stderr, found.df)
            assert p == pytest.approx(r[f"{name}_p"], abs=1e-4)


def test_one_seed_has_a_normal_interval():
    found = robustness.stored_interval(0.1, 0.1 - 1.959964, 0.1 + 1.959964, 1)
    assert found.stderr == pytest.approx(1.0)


def test_the_committed_page_is_that_of_the_committed_files():
    text = committed.page("robustness-full")
    assert text == robustness.page(robustness.study()), "run: python -m zobench.studies.robustness"
