"""The page of the full robustness suite: its verdicts on differences whose outcome is known, and that the
committed page is the one that the committed files give."""

from __future__ import annotations

import math

import pandas as pd
import pytest

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
    number |= {"only_without": 9, "only_with": 1}
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
    return robustness.Study(pd.DataFrame(attacks), pd.DataFrame(numbers), pd.DataFrame(finals))


def test_verdicts_follow_the_printed_rule():
    text = robustness.page(study([interval(0.2, 0.01), interval(0.1, 0.05)]))
    assert "**Shown in 1 of 2 comparisons**, mean difference\n+15.0 points" in text
    lines = {
        line.split("|")[3].strip(): line
        for line in text.splitlines()
        if line.startswith("| mezo | nano-problems")
    }
    assert "**shown**" in lines["0"]
    assert "+20.0 [+16.8, +23.2] | 9 : 1" in lines["0"]
    assert "not shown" in lines["1"]
    assert "Beyond its null, shown: `harms`." in text, "an attack that does less than its null is not named"
    assert "| mezo | 55.0 ± 63.5 |" in text
    assert "code abcdefg." in text


def test_two_comparisons_are_harder_to_pass_than_one():
    close = interval(0.1, 0.1 / 3.5)
    assert "1 of 1 comparisons" in robustness.page(study([close]))
    assert "0 of 2 comparisons" in robustness.page(study([close, close]))


def test_the_committed_page_is_that_of_the_committed_files():
    text = (committed.docs() / "robustness-full.md").read_text(encoding="utf-8")
    assert text == robustness.page(robustness.study()), "run: python -m zobench.studies.robustness"
