"""Answers sampled at a temperature, for victims of attacks with sampled decoding.

A generated answer is sampled token by token (:mod:`zobench.models.sampled`); a class is sampled from
softmax(log p / temperature). The seed of an answer is the SHA-256 of (seed, example id, number of the query).
Therefore the same text queried again gets another answer, while repeating the run gives the same answers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable, Sequence

import numpy as np

from zobench.data.example import Example
from zobench.models.base import LanguageModel
from zobench.models.sampled import SampledModel
from zobench.tasks.base import Prediction, Task
from zobench.tasks.choosing import ChoiceTask


def sampled_predict(
    task: Task, lm: LanguageModel, shots: Sequence[Example], *, temperature: float, seed: int
) -> Callable[[Sequence[Example]], list[Prediction]]:
    """The task's predictions at this temperature; ``meta["query"]`` numbers the queries of an example.

    Raises:
        ValueError: the task neither generates nor chooses among options.
    """
    if task.kind != "generation" and not isinstance(task, ChoiceTask):
        raise ValueError(f"tasks of kind {task.kind!r} cannot be sampled at temperature {temperature}")

    def predict(examples: Sequence[Example]) -> list[Prediction]:
        seeds = [_seed(seed, e) for e in examples]
        if not isinstance(task, ChoiceTask):
            return task.predict(SampledModel(lm, temperature, seeds), examples, shots)
        known = task.predict(lm, examples, shots)
        return [_drawn(task, *each, temperature) for each in zip(examples, known, seeds, strict=True)]

    return predict


def _seed(seed: int, example: Example) -> int:
    name = f"{seed}:{len(example.id)}:{example.id}:{example.meta.get('query', 0)}"
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest(), "big")


def _drawn(
    task: ChoiceTask, example: Example, known: Prediction, seed: int, temperature: float
) -> Prediction:
    assert known.log_probs is not None
    scaled = np.asarray(known.log_probs) / temperature
    total = np.exp(scaled - scaled.max()).cumsum()
    label = int(np.searchsorted(total, random.Random(seed).random() * total[-1], side="right"))
    return dataclasses.replace(
        known, label=label, output=task.options(example)[label], correct=task.is_correct(example, label)
    )
