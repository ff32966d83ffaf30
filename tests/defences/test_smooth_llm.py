"""Votes over perturbed copies, as a task of its own."""

from __future__ import annotations

from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zobench.attacks.protect import protected_spans
from zobench.defences.smooth_llm import ALPHABET, KINDS, SmoothedTask, SmoothLLMConfig, _vote, perturbed
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.spec import ModelRef
from zobench.tasks.base import Prediction


@given(
    text=st.text(max_size=60)
    | st.sampled_from(["Ann has 25 apples and $x^2$ left", "👩‍🚀 great 7", "שלום 5"]),
    kind=st.sampled_from(KINDS),
    rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 3),
)
def test_perturbations_keep_protected_spans_and_their_number(text, kind, rate, seed):
    config = SmoothLLMConfig(kind=kind, rate=rate)
    found = perturbed(text, config, Random(seed), ("great",))
    assert found == perturbed(text, config, Random(seed), ("great",))
    assert rate or found == text
    most = max(1, int(rate * len(text)))
    if kind == "insert":
        assert 0 <= len(found) - len(text) <= most
    else:
        assert len(found) == len(text)
        assert sum(a != b for a, b in zip(text, found, strict=True)) <= most
        for span in protected_spans(text, ("great",)):
            assert found[span.start : span.end] == span.text


def test_the_most_frequent_answer_wins_and_the_first_of_equals():
    def said(*words):
        return _vote([Prediction("a", w, w == "x", log_probs=None) for w in words]).output

    assert said("y", "x", "x") == "x"
    assert said("y", "x", "x", "y") == "y"
    shared = _vote([Prediction("a", "x", True, 0, (-0.1, -2.3)), Prediction("a", "x", True, 0, (-0.7, -0.7))])
    assert shared.log_probs[0] == pytest.approx(-0.355, abs=0.01)


def test_bad_parameters_name_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'swap'"):
        SmoothLLMConfig(kind="swop")
    with pytest.raises(ValueError, match="rate"):
        SmoothLLMConfig(rate=2.0)


def test_a_suite_may_name_it_and_no_noise_gives_the_inner_answers():
    made = lookup("tasks", "smoothllm")
    assert made is SmoothedTask
    lm = load(ModelRef(name="builtin:nano"))
    task = made(made.Config(of="nano-sentiment", copies=3, rate=0.0))
    rows = list(task.splits(0).test[:5])
    plain = task.inner.predict(lm, rows)
    assert [p.output for p in task.predict(lm, rows)] == [p.output for p in plain]
    noisy = made(made.Config(of="nano-problems", params={"max_new_tokens": 40}, copies=3, rate=0.1))
    rows = list(noisy.splits(0).test[:2])
    assert [p.output for p in noisy.predict(lm, rows)] == [p.output for p in noisy.predict(lm, rows)]
    assert all(c.text != rows[0].text for c in noisy.copies(rows[0]))


def test_the_certificate_of_a_task_is_what_its_own_copies_do():
    """A suffix that one or two changed characters break, over many perturbations of a real text."""
    made = lookup("tasks", "smoothllm")
    task = made(made.Config(of="nano-sentiment", copies=5, rate=0.1))
    example = task.splits(0).test[0]
    text = example.text["sentence"]
    suffix = "".join(ALPHABET[(7 * i) % 26] for i in range(20))
    draws = Random(0)

    def changed():
        copy = perturbed(f"{text}{suffix}", task.config, draws)
        return sum(a != b for a, b in zip(copy[len(text) :], suffix, strict=True))

    counts = [[changed() for _ in range(5)] for _ in range(1500)]
    right = [Prediction(example.id, "x", True, example.label, (log(0.9), log(0.1)))]
    found = task.metrics([example], right)
    for k in (1, 2, 5):
        share = sum(sum(c >= k for c in copies) > 2 for copies in counts) / len(counts)
        assert found[f"defence_success_at_{k}"].value == pytest.approx(share, abs=0.04)
    assert found["defence_success_at_1"].value > found["defence_success_at_2"].value
    insert = made(made.Config(of="nano-sentiment", kind="insert"))
    assert set(insert.metrics([example], right)) == set(task.inner.metrics([example], right))
