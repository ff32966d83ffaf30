"""Half-memorized facts: which half the model knows, and metrics of sampled answers by hand."""

from __future__ import annotations

import pytest

from zobench.models.loading import load
from zobench.spec import ModelRef
from zobench.tasks.base import Prediction
from zobench.tasks.half_memorized import HalfMemorized, HalfMemorizedConfig


def make(**params: object) -> HalfMemorized:
    return HalfMemorized(HalfMemorizedConfig(**params))


def test_the_model_has_memorized_exactly_one_half() -> None:
    task = make(people=1, samples=1, k=1, m=1, question="trained", temperature=0.1)
    lm = load(ModelRef(name="builtin:nano-facts"))
    train, test = task.splits(1).train, task.splits(1).test
    losses = {e.meta["part"]: [] for e in train}
    for e in train:
        losses[e.meta["part"]].append(task.loss(lm, lm.module, task.batch(lm, [e])).item())
    assert len(losses["memorized"]) == len(losses["new"]) == 8
    assert max(losses["memorized"]) < min(losses["new"]), "the loss of the base model separates the halves"
    found = task.metrics(test, task.predict(lm, test))
    assert found["accuracy_memorized"].value == 1.0
    assert found["accuracy_new"].value < 0.5


def test_samples_differ_and_do_not_depend_on_their_batch() -> None:
    task = make(people=1, samples=4, temperature=2.0)
    lm = load(ModelRef(name="builtin:nano-facts"))
    test = task.splits(1).test
    assert len({e.id for e in test}) == len(test) == 2 * 8 * 4
    texts = [p.raw for p in task.predict(lm, test[:8])]
    assert len(set(texts[:4])) > 1
    assert [p.raw for p in task.predict(lm, test[4:8])] == texts[4:]


def test_metrics_by_hand() -> None:
    """Four samples to a memorized question, three of them right, and to a new one, two right."""
    task = make(people=1, samples=4, k=2, m=2)
    test = task.splits(1).test[:8]
    right = [True, True, True, False, True, False, True, False]
    answers = [Prediction(e.id, "", ok, strict_correct=ok) for e, ok in zip(test, right, strict=True)]
    found = {name: value.value for name, value in task.metrics(test, answers).items()}
    assert [e.meta["part"] for e in test] == ["memorized"] * 4 + ["new"] * 4
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert (found["accuracy_memorized"], found["accuracy_new"]) == (0.75, 0.5)
    assert found["pass_at_k"] == pytest.approx((1 + 5 / 6) / 2)
    assert found["pass_at_k_m"] == pytest.approx((3 / 6 + 1 / 6) / 2)
    assert found["pass_at_k_m_memorized"] == pytest.approx(0.5)
    assert found["pass_at_k_m_new"] == pytest.approx(1 / 6)
    assert set(found) <= set(task.measures)
    assert "pass_at_k" not in task.metrics(test[:1], answers[:1]), "one sample is fewer than k"


def test_more_passes_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="must not decrease"):
        make(samples=4, k=5)
