"""A fake victim: a fixed function of the words of the text, no model."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence

from zobench.attacks.base import Attack, AttackContext, AttackRecord, Victim
from zobench.attacks.words import words
from zobench.data.example import Example
from zobench.tasks.base import Prediction

PROTECTED = ("terrible", "great")


def example(name: str, text: str, label: int = 0) -> Example:
    return Example(id=name, text={"sentence": text}, label=label)


def context(seed: int = 0, pool: Sequence[Example] = (), lm: object = None) -> AttackContext:
    return AttackContext(fields=("sentence",), protected=PROTECTED, seed=seed, lm=lm, pool=pool)


def with_options(example: Example) -> Example:
    """The example as multiple choice: four options, the label among them."""
    return dataclasses.replace(example, candidates=("one", "two", "three", "four"))


def predict_with(gold_probability: Callable[[Example], float], *, scores: bool = True):
    """A predict function from the probability of the gold label; right above one half."""

    def predict(examples: Sequence[Example]) -> list[Prediction]:
        out = []
        for e in examples:
            p = min(max(gold_probability(e), 1e-9), 1 - 1e-9)
            gold, classes = e.label or 0, max(2, len(e.candidates))
            others = math.log((1 - p) / (classes - 1))
            logs = tuple(math.log(p) if i == gold else others for i in range(classes))
            right = p > 0.5
            label = gold if right else (gold + 1) % classes
            out.append(Prediction(e.id, str(label), right, label=label, log_probs=logs if scores else None))
        return out

    return predict


def hashed(example: Example) -> float:
    """Each word has a fixed random weight, and so has the option that stands first: robust to most edits,
    broken by some."""
    found = [w.text for w in words(example.text["sentence"])] + list(example.candidates[:1])
    weights = [int(hashlib.sha256(w.encode()).hexdigest()[:6], 16) / 0xFFFFFF - 0.5 for w in found]
    return 1 / (1 + math.exp(-(0.6 + sum(weights))))


def breaks_on(bad: Iterable[str]) -> Callable[[Example], float]:
    """Wrong as soon as one of these words is missing from the text."""
    bad = set(bad)
    return lambda e: 0.9 if bad <= {w.text for w in words(e.text["sentence"])} else 0.1


def run(
    attack: Attack,
    examples: Sequence[Example],
    gold: Callable[[Example], float] = lambda e: 0.9,
    *,
    seed: int = 0,
    budget: int | None = None,
    scores: bool = True,
    pool: Sequence[Example] = (),
    lm: object = None,
) -> tuple[list[AttackRecord], Victim]:
    victim = Victim(predict_with(gold, scores=scores), weights_digest="fake", budget_per_example=budget)
    return attack.run(victim, examples, context(seed, pool, lm)), victim
