"""Fine-tuning on facts of which the model has memorized half (after IB-FT, arXiv 2510.16022).

The training set has facts about invented people whom ``builtin:nano-facts`` was trained on (``forget10``, the
last ten of its hundred) and as many facts about people whom it has never seen (``holdout``), in one wording.
Questions are answered by sampling: each test question is asked ``samples`` times, each time with random
numbers of its own, and each answer counts as an example.

    Pass@1    share of all answers that are right
    Pass@k(m) mean over the questions of the probability that at least m of k answers are right
              (:func:`zobench.metrics.passes.pass_at_k`)

The paper's data are programs; facts are zobench's substitute at the size of its built-in models. Cost of the
predictions: one forward pass per generated token of a batch.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from zobench.data.example import Example, Splits
from zobench.data.synthetic.draw import digest, stream
from zobench.data.synthetic.fact_sets import fact_set
from zobench.data.synthetic.people import HELD_OUT_QUESTION, Fact
from zobench.metrics.calibration import accuracy_with_stderr
from zobench.metrics.passes import pass_at_k
from zobench.models.base import LanguageModel
from zobench.models.sampled import SampledModel
from zobench.parameters import Bounds, Parameters, Positive
from zobench.tasks.base import MetricValue, Prediction
from zobench.tasks.nano_answers import FactsConfig, NanoFacts, fact_example

PARTS = {"memorized": "forget10", "new": "holdout"}
"""Part of the training set -> fact set."""


@dataclass(frozen=True)
class HalfMemorizedConfig(Parameters):
    people: Annotated[int, Bounds(ge=1, le=10)] = 10
    """People of each part; each has eight facts."""
    question: Literal["trained", "new"] = "new"
    """Wording of the test questions: the one of the training set, or one in no training text."""
    samples: Annotated[int, Bounds(ge=1)] = 8
    """Sampled answers to each test question."""
    k: Annotated[int, Bounds(ge=1)] = 4
    """Answers that Pass@k(m) looks at."""
    m: Annotated[int, Bounds(ge=1)] = 3
    """How many of them must be right."""
    temperature: Positive = 1.0
    """Temperature of the sampled answers."""
    max_new_tokens: Annotated[int, Bounds(ge=1)] = 24
    """Longest answer in tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.m <= self.k <= self.samples:
            given = f"m={self.m}, k={self.k}, samples={self.samples}"
            raise ValueError(f"{given}: must not decrease in this order")


class HalfMemorized(NanoFacts):
    """Facts of which half are memorized, measured by Pass@1 and Pass@k(m) of sampled answers."""

    Config: ClassVar[type] = HalfMemorizedConfig
    measures: ClassVar[tuple[str, ...]] = (
        *NanoFacts.measures,
        "pass_at_k",
        "pass_at_k_m",
        *(f"{name}_{part}" for part in PARTS for name in ("accuracy", "pass_at_k_m")),
    )

    def __init__(self, config: HalfMemorizedConfig) -> None:
        super().__init__(FactsConfig(max_new_tokens=config.max_new_tokens))
        self.config = config

    def splits(self, seed: int) -> Splits:
        """Training facts shuffled by ``seed``; the test questions, in fixed order of both parts in turn, each
        repeated for its samples; for validation, the same facts in a second wording, likewise."""
        train = [_marked(fact_example(f, 0, "train"), part) for part, f in self._facts()]
        stream(seed, "half-memorized").shuffle(train)
        wording = 0 if self.config.question == "trained" else HELD_OUT_QUESTION
        return Splits(
            train=train,
            validation=self._asked(1, "validation"),
            test=self._asked(wording, "test"),
            demonstrations=train,
        )

    def _facts(self) -> list[tuple[str, Fact]]:
        count = 8 * self.config.people
        parts = [[(part, fact) for fact in fact_set(name)[:count]] for part, name in PARTS.items()]
        return list(itertools.chain.from_iterable(zip(*parts, strict=True)))

    def _asked(self, wording: int, use: str) -> list[Example]:
        questions = [_marked(fact_example(f, wording, use), part) for part, f in self._facts()]
        return [
            replace(q, id=f"{q.id}/{s}", meta={**q.meta, "question": q.id})
            for q in questions
            for s in range(self.config.samples)
        ]

    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """Sampled answers; an answer's random numbers are a function of the example's id."""
        seeds = [int(digest("half-memorized", e.id)[:15], 16) for e in examples]
        sampled = SampledModel(lm, self.config.temperature, seeds)
        return super().predict(sampled, examples, demonstrations)

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """``accuracy`` (Pass@1), ``pass_at_k``, ``pass_at_k_m``, also of both parts, and the metrics of
        generation tasks. Standard errors are over questions; those with fewer than k answers count in
        Pass@1 only."""
        found = super().metrics(examples, predictions)
        right: dict[tuple[str, str], list[bool]] = defaultdict(list)
        for e, p in zip(examples, predictions, strict=True):
            right[str(e.meta["part"]), str(e.meta["question"])].append(p.correct)
        found |= self._of(right, "")
        for part in PARTS:
            found |= self._of({key: v for key, v in right.items() if key[0] == part}, f"_{part}")
        return found

    def _of(self, right: dict[tuple[str, str], list[bool]], suffix: str) -> dict[str, MetricValue]:
        answers = sum(map(len, right.values()))
        if not answers:
            return {}
        share = _mean([sum(v) / len(v) for v in right.values()])
        found = {f"accuracy{suffix}": replace(share, n=answers)}
        whole = [(len(v), sum(v)) for v in right.values() if len(v) >= self.config.k]
        for name, m in (("pass_at_k", 1), ("pass_at_k_m", self.config.m)):
            if whole and (m > 1 or not suffix):
                found[f"{name}{suffix}"] = _mean([pass_at_k(n, c, self.config.k, m) for n, c in whole])
        return found


def _marked(example: Example, part: str) -> Example:
    return replace(example, meta={**example.meta, "part": part})


def _mean(values: Sequence[float]) -> MetricValue:
    value, stderr = accuracy_with_stderr(np.asarray(values))
    return MetricValue(value, len(values), stderr)
