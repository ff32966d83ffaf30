"""What a task is: rows in, prompts out; a loss to train on, predictions and metrics to measure. Knows no
optimizer.

A task is built from its parameters alone (``TaskClass(TaskClass.Config(**params))``), draws its splits
from a seed, and scores through a :class:`~zobench.models.base.LanguageModel`. Built-in tasks are listed in
``zobench/tasks/__init__.py``; others come by the entry-point group ``zobench.tasks``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.data.example import Example, Splits
from zobench.models.base import LanguageModel


@dataclass(frozen=True, slots=True)
class Batch:
    """A minibatch ready for the model: tensors on the model's device and what it costs.

    Attributes:
        inputs: whatever ``Task.loss`` needs (token ids, masks, targets).
        sequences: rows that go through the model in one forward of this batch (candidates counted).
        tokens: non-padding tokens in them.
    """

    inputs: Mapping[str, Any]
    sequences: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model answered to one example.

    Attributes:
        output: label word or extracted final answer, as text.
        correct: whether it counts as right under the task's rule.
        label: predicted class index; ``None`` for generation.
        log_probs: natural-log probabilities over the candidates, normalized to sum to one; ``None`` for
            generation.
        raw: full generated text (empty for classification).
        tokens: number of generated tokens (0 for classification).
        strict_correct: verdict of the strict extractor, beside the robust one in ``correct``; ``None`` if
            not apart.
    """

    example_id: str
    output: str
    correct: bool
    label: int | None = None
    log_probs: tuple[float, ...] | None = None
    raw: str = ""
    tokens: int = 0
    strict_correct: bool | None = None


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A measured number: its mean, how many items it is over, and its standard error where one is defined."""

    value: float
    n: int
    stderr: float | None = None


class Task(ABC):
    """One thing to learn and measure.

    Class attributes: ``Config`` is a frozen dataclass of typed parameters with defaults, each with a
    docstring line;
    ``kind`` is ``classification``, ``multiple-choice`` or ``generation``; ``primary_metric`` heads the
    leaderboard.
    """

    Config: ClassVar[type]
    kind: ClassVar[str]
    primary_metric: ClassVar[str] = "accuracy"

    scores: ClassVar[tuple[str, ...]] = ()
    """Scores of a minibatch that a run may train on in place of the loss: ``accuracy``, ``f1``."""

    @classmethod
    def scores_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Those of ``scores`` that the task has with these parameters of its ``Config``."""
        return cls.scores

    measures: ClassVar[tuple[str, ...]] = ()
    """Names of :meth:`metrics`; empty where the task does not declare them, and then no name is checked."""

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Those of ``measures`` that the task has with these parameters of its ``Config``."""
        return cls.measures

    config: Any
    chance: float | None = None
    attackable: tuple[str, ...] = ()
    """Text fields that an attack may edit."""
    protected: tuple[str, ...] = ()
    """Words that no attack may edit or insert (label words, answer markers)."""

    def revision(self, lm: LanguageModel) -> int:
        """Which arithmetic scores this task's rows with this model; above 1 it is part of a run's
        identity."""
        return 1

    @abstractmethod
    def splits(self, seed: int) -> Splits:
        """Rows for one data seed. Same seed, same rows in the same order, on every machine."""

    @abstractmethod
    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """Tokenize a training minibatch once; no forward pass."""

    @abstractmethod
    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean training loss over the minibatch, a float32 scalar tensor; one forward of ``module``.

        ``module`` is ``lm.module`` or a stand-in with the same call signature (perturbed copy, functional
        view), so the forward must go through the argument, never through ``lm.module``.
        """

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Losses whose mean is :meth:`loss`, one per item of the minibatch, float32 vector; one forward.

        An item is an example, or an answer token where the loss is a mean over tokens. By default the whole
        minibatch is one item.
        """
        return self.loss(lm, module, batch).reshape(1)

    def scored_batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """A training minibatch for :meth:`score`; that of the loss unless the score needs more."""
        return self.batch(lm, examples)

    def score(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, name: str) -> torch.Tensor:
        """A score of the minibatch in [0, 1] by one of the names in ``scores``, as a float32 scalar tensor
        that has no gradient. ``batch`` is one of :meth:`scored_batch`; ``module`` as in :meth:`loss`."""
        raise ValueError(f"this task has no {name!r} of a minibatch to train on")

    @abstractmethod
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """Answers in the order of ``examples``; ``demonstrations`` precede each prompt (in-context
        learning)."""

    @abstractmethod
    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """Named metrics of these predictions, ``primary_metric`` among them."""
