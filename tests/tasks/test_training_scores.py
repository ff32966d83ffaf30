"""Scores of a minibatch: against the task's own predictions and metrics, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from zobench.data.example import Example, Splits
from zobench.plugins import lookup
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.multiple_choice import ReCoRD
from zobench.tasks.prompts import Prompt
from zobench.tasks.scores import macro_f1, option_accuracy, token_f1

Tiny = Callable[[str], Any]
PROMPT = Prompt("{sentence} It was {answer} .", ("terrible", "great"))
OPTIONS = Prompt("{sentence} It was", ("utterly terrible", "great", "so so okay"))
EXAMPLES = [
    Example(id=f"e{i}", text={"sentence": "the film " + "was good and " * (i % 5)}, label=i % 3)
    for i in range(9)
]


class Fixed(PromptedClassification):
    def splits(self, seed: int) -> Splits:
        return Splits(EXAMPLES, EXAMPLES, EXAMPLES)


def f1_by_hand(chosen: list[int], gold: list[int]) -> float:
    """Mean over the classes in ``gold`` of the harmonic mean of precision and recall."""
    found = []
    for c in sorted(set(gold)):
        hits = sum(p == g == c for p, g in zip(chosen, gold, strict=True))
        precision = hits / max(1, chosen.count(c))
        recall = hits / gold.count(c)
        found.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return sum(found) / len(found)


CASES = [
    ("llama", "label-words", "classification"),
    ("bert-masked", "label-words", "classification"),
    ("bert-encoder", "label-words", "classification"),
    ("llama", "option-likelihood", "classification"),
    ("llama", "option-likelihood", "teacher-forcing"),
]


@pytest.mark.parametrize(("family", "scoring", "training"), CASES)
def test_classification_scores_are_those_of_its_predictions(
    tiny: Tiny, family: str, scoring: str, training: str
) -> None:
    prompt = OPTIONS if scoring == "option-likelihood" else PROMPT
    lm, task = tiny(family), Fixed(None, prompt=prompt, scoring=scoring, training=training)
    rows = [replace(e, label=i % len(prompt.words)) for i, e in enumerate(EXAMPLES)]
    batch = task.scored_batch(lm, rows)
    chosen = [p.label for p in task.predict(lm, rows)]
    gold = [e.label for e in rows]
    with torch.no_grad():
        accuracy, f1 = (float(task.score(lm, lm.module, batch, n)) for n in ("accuracy", "f1"))
    assert accuracy == pytest.approx(sum(a == b for a, b in zip(chosen, gold, strict=True)) / 9)
    assert f1 == pytest.approx(f1_by_hand(chosen, gold))


def test_several_candidates_may_be_right(tiny: Tiny) -> None:
    record = lookup("tasks", "record")
    task = ReCoRD(record.Config())
    rows = [
        Example(
            id=str(i),
            text={"passage": "x went to y.", "query": "@placeholder went"},
            label=0,
            candidates=("the x", "y", "z")[: 2 + i],
            meta={"right": tuple(range(2 + i))[i:]},
        )
        for i in range(2)
    ]
    lm = tiny("llama")
    batch = task.scored_batch(lm, rows)
    assert batch.sequences == 5
    assert batch.inputs["right"].tolist() == [[True, True, False], [False, True, True]]
    right = [p.correct for p in task.predict(lm, rows)]
    with torch.no_grad():
        assert float(task.score(lm, lm.module, batch, "accuracy")) == sum(right) / 2


def test_branches_of_scores_equal_single_ones(tiny: Tiny) -> None:
    """Plain tensor operations: vmap runs them."""
    scores = torch.linspace(-1, 1, 4 * 9 * 3).sin().reshape(4, 9, 3)
    gold = torch.tensor([e.label for e in EXAMPLES])
    right = torch.nn.functional.one_hot(gold, 3).bool()
    for function, given in ((option_accuracy, right), (macro_f1, gold)):
        batched = torch.vmap(lambda s, f=function, g=given: f(s, g))(scores)
        torch.testing.assert_close(batched, torch.stack([function(s, given) for s in scores]))


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("the Eiffel tower", "Eiffel Tower", 1.0),
        ("in Paris, France", "Paris", 0.5),
        ("a cat", "the dog", 0.0),
        ("", "", 1.0),
        ("", "x", 0.0),
        ("b b c", "b c c", 2 / 3),
    ],
)
def test_token_f1(answer: str, gold: str, expected: float) -> None:
    assert token_f1(answer, gold) == pytest.approx(expected)


def test_generated_answers_are_scored_by_the_tasks_own_rule(tiny: Tiny) -> None:
    facts = lookup("tasks", "nano-facts")
    task = facts(facts.Config(test_rows=4, max_new_tokens=6))
    rows, lm = task.splits(0).test, tiny("llama")
    batch = task.scored_batch(lm, rows)
    predictions = task.predict(lm, rows)
    assert float(task.score(lm, lm.module, batch, "accuracy")) == sum(p.correct for p in predictions) / 4
    f1 = sum(token_f1(p.raw, e.answer) for p, e in zip(predictions, rows, strict=True)) / 4
    assert float(task.score(lm, lm.module, batch, "f1")) == pytest.approx(f1)
    with pytest.raises(ValueError, match="by the model itself"):
        task.score(lm, torch.nn.Linear(1, 1), batch, "f1")


def test_a_task_without_scores_says_so() -> None:
    smooth = lookup("tasks", "smoothllm")
    assert smooth.scores == ()
