"""Generation tasks: the loss is the gold answer's NLL; robust and strict verdicts are both recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.data.example import Example, Splits
from zobench.plugins import lookup
from zobench.tasks.generation import GenerationTask
from zobench.tasks.prompts import Prompt

Tiny = Callable[[str], Any]
ROWS = [
    Example(
        id=f"q{i}", text={"question": "How many apples? " * (i + 1)}, answer=str(10 + i), meta={"solution": s}
    )
    for i, s in enumerate(["10 apples.\n#### 10", "#### 11", "so 12 in all\n#### 12"])
]


class Apples(GenerationTask):
    def splits(self, seed: int) -> Splits:
        return Splits(ROWS, ROWS, ROWS)


def _apples() -> Apples:
    return Apples(None, prompt=Prompt("Question: {question}\nAnswer:"), max_new_tokens=8, stop=("Question:",))


@torch.inference_mode()
def test_loss_is_the_mean_nll_of_the_answers_tokens(tiny: Tiny) -> None:
    for family in ("llama", "gpt2", "opt"):
        lm, task = tiny(family), _apples()
        total, count = 0.0, 0
        for e in ROWS:
            context = lm.tokenizer(f"Question: {e.text['question'].strip()}\nAnswer:")["input_ids"]
            text = f"Question: {e.text['question']}\nAnswer: {e.meta['solution']}"
            ids = torch.tensor([lm.tokenizer(task.prompt.completed(e, task.target(e)))["input_ids"]])
            assert lm.tokenizer(text)["input_ids"] == ids[0].tolist()
            start = len(lm.tokenizer(task.prompt.context(e))["input_ids"])
            assert start >= len(context)
            labels = ids.clone()
            labels[:, :start] = -100
            n = ids.shape[1] - start
            total += lm.module(ids, labels=labels).loss.item() * n
            count += n
        batch = task.batch(lm, ROWS)
        assert abs(task.loss(lm, lm.module, batch).item() - total / count) < 2e-5


def test_predictions_hold_text_answer_and_both_verdicts(tiny: Tiny) -> None:
    lm, task = tiny("llama"), _apples()
    predictions = task.predict(lm, ROWS, ROWS[:1])
    prompts = [task.prompt.context(e, [(ROWS[0], task.target(ROWS[0]))]) for e in ROWS]
    assert [p.raw for p in predictions] == lm.generate(prompts, max_new_tokens=8, stop=["Question:"])
    assert all(p.tokens > 0 for p in predictions)
    measured = task.metrics(ROWS, predictions)
    assert set(measured) == {"accuracy", "strict_accuracy", "answered", "answer_tokens"}


def test_robust_and_strict_verdicts_differ_where_they_should() -> None:
    task = _apples()
    right = task.judge(ROWS[0], "10 apples\n#### 10", 7)
    assert (right.correct, right.strict_correct, right.output, right.tokens) == (True, True, "10", 7)
    loose = task.judge(ROWS[0], "The answer is $10.00")
    assert (loose.correct, loose.strict_correct) == (True, False)
    none = task.judge(ROWS[0], "no idea")
    assert (none.correct, none.strict_correct, none.output) == (False, False, "")
    measured = task.metrics(ROWS, [right, loose, none])
    assert measured["accuracy"].value == pytest.approx(2 / 3)
    assert measured["strict_accuracy"].value == pytest.approx(1 / 3)
    assert measured["answered"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "rows"), [("gsm8k", 1319), ("math500", 500), ("gsm-plus", 2100), ("gsm-ic", 1000)]
)
def test_math_tasks_from_local_files(
    name: str, rows: int, tiny: Tiny, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    found = lookup("tasks", name)
    task = found(found.Config(train=6, dev=2, max_new_tokens=4))
    splits = task.splits(0)
    assert len(splits.test) == rows
    assert len(splits.train) == (0 if name == "math500" else 6)
    lm = tiny("llama")
    assert len(task.predict(lm, splits.test[:3])) == 3
    if splits.train:
        assert torch.isfinite(task.loss(lm, lm.module, task.batch(lm, splits.train[:2])))


def test_a_math_task_is_asked_in_other_words() -> None:
    for name in ("gsm8k", "math500"):
        found = lookup("tasks", name)
        task = found(found.Config(prompt="Q: {question}\nA:"))
        assert task.prompt.context(ROWS[0]) == "Q: How many apples? \nA:"
        assert found(found.Config()).prompt == found.template
        with pytest.raises(ValueError, match="and no other field"):
            found.Config(prompt="Q: {question} {hint}\nA:")


def test_gold_answers_judge_themselves_correct(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gold solution, read back by the task's own rules, is right: no gold that extraction
    cannot reach."""
    monkeypatch.setenv("ZOBENCH_DATA", str(real_data))
    found = lookup("tasks", "gsm8k")
    task = found(found.Config())
    verdicts = [task.judge(e, task.target(e)) for e in task.splits(0).test]
    assert all(v.correct and v.strict_correct for v in verdicts)
    found = lookup("tasks", "math500")
    task = found(found.Config())
    verdicts = [task.judge(e, task.target(e)) for e in task.splits(0).test]
    assert [v.example_id for v in verdicts if not v.correct] == []
