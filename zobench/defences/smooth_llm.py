"""SmoothLLM-style smoothing of any task's predictions (arXiv 2310.03684), as a task.

Each example is answered on ``copies`` texts with a share ``rate`` of perturbed characters; the most frequent
answer is chosen (the first one, if several are equally frequent). Characters of protected spans (numerals,
number words, units, LaTeX, markup, the task's own words) are not perturbed: noise on digits would change the
problem. Cost: ``copies`` predictions per example. Training, loss and examples are the inner task's.

Certificate, for ``swap``: metric ``defence_success_at_K`` is the probability that in more than half of the
copies a suffix of 20 characters is broken, if changing K of its characters breaks it; mean over the examples'
texts. It does not say whether the model answers those copies correctly; accuracy measures that.
"""

from __future__ import annotations

import dataclasses
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Any, ClassVar

import torch

from zobench.attacks.protect import Guard
from zobench.attacks.streams import stream
from zobench.data.example import Example
from zobench.defences.certificates import defence_success, suffix_broken
from zobench.models.base import LanguageModel
from zobench.parameters import Count, Fraction, OneOf, Parameters
from zobench.tasks.base import MetricValue, Prediction
from zobench.tasks.wrapped import WrappedTask, made

ALPHABET = string.ascii_letters + " " + string.punctuation
KINDS = ("insert", "swap", "patch")
SUFFIX, UNSTABLE = 20, (1, 2, 5)
"""Length of the suffix of the certificate, and the numbers K of changed characters that break it."""


@dataclass(frozen=True)
class SmoothLLMConfig(Parameters):
    of: str = "nano-sentiment"
    """The defended task."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of that task."""
    copies: Count = 8
    """Number of perturbed copies."""
    rate: Fraction = 0.1
    """Share of perturbed characters, rounded down; at least one character if it is above 0."""
    kind: Annotated[str, OneOf(KINDS)] = "swap"
    """``insert`` one after each, ``swap`` each for another, or swap a ``patch`` of neighbouring ones."""
    noise_seed: int = 0
    """Seed of the perturbations, together with the text itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        made(self.of, self.params)


class SmoothedTask(WrappedTask):
    """The inner task, answered by majority vote over perturbed copies."""

    Config: ClassVar[type] = SmoothLLMConfig
    config: SmoothLLMConfig

    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The most frequent answer to each example's copies."""
        n = self.config.copies
        asked = [copy for e in examples for copy in self.copies(e)]
        answers = self.inner.predict(lm, asked, demonstrations)
        return [_vote(answers[i * n : (i + 1) * n]) for i in range(len(examples))]

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Empty (not declared): the names depend on the certificate's parameters."""
        return ()

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """The inner task's metrics, and the certificate of the module docstring."""
        found = self.inner.metrics(examples, predictions)
        if self.config.kind != "swap":
            return found
        lengths = [len(e.text.get(self.attackable[-1], "")) + SUFFIX for e in examples]
        for k in UNSTABLE:
            chances = [self.defence_success(n, k) for n in lengths]
            found[f"defence_success_at_{k}"] = MetricValue(sum(chances) / len(chances), len(chances))
        return found

    def defence_success(self, length: int, k: int) -> float:
        """Defence success for a text of ``length`` characters, its suffix included, if changing ``k``
        characters of the suffix breaks the attack."""
        alpha = suffix_broken(length, min(SUFFIX, length), self.config.rate, k, len(ALPHABET))
        return defence_success(alpha, self.config.copies, ties=False)

    def copies(self, example: Example) -> list[Example]:
        """The perturbed copies, determined by the texts and the seed alone."""
        body = [t for f in self.attackable if (t := example.text.get(f)) is not None]
        draws = stream(self.config.noise_seed, "smoothllm", *body)
        return [self._copy(example, draws) for _ in range(self.config.copies)]

    def _copy(self, example: Example, draws: Random) -> Example:
        for name in self.attackable:
            if name in example.text:
                text = perturbed(example.text[name], self.config, draws, self.protected)
                example = example.with_text(name, text)
        return example


def perturbed(text: str, config: SmoothLLMConfig, draws: Random, protected: Sequence[str] = ()) -> str:
    """The text with floor(rate * characters), but at least one, of its unprotected characters perturbed."""
    guard = Guard(text, protected)
    free = [i for i in range(len(text)) if guard.free(i, i + 1)]
    count = min(len(free), max(1, int(config.rate * len(text))) if config.rate else 0)
    if config.kind == "patch":
        start = draws.randrange(len(free) - count + 1)
        chosen = free[start : start + count]
    else:
        chosen = draws.sample(free, count)
    letters = list(text)
    for i in chosen:
        new = draws.choice(ALPHABET)
        letters[i] = letters[i] + new if config.kind == "insert" else new
    return "".join(letters)


def _vote(answers: Sequence[Prediction]) -> Prediction:
    """The first of the most frequent answers; its log-probabilities are those of the mean probabilities."""
    counts = Counter(p.output for p in answers)
    most = max(counts.values())
    chosen = next(p for p in answers if counts[p.output] == most)
    if chosen.log_probs is None:
        return chosen
    logs = torch.tensor([p.log_probs for p in answers], dtype=torch.float64)
    mean = logs.logsumexp(0) - torch.tensor(float(len(answers)), dtype=torch.float64).log()
    return dataclasses.replace(chosen, log_probs=tuple(mean.tolist()))
