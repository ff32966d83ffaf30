"""The interface of tasks: examples, prompts, a training loss, predictions and metrics.

A task is independent of the optimizer. It is built from its parameters alone
(``TaskClass(TaskClass.Config(**params))``), draws its splits from a seed, and scores through a
:class:`~zobench.models.base.LanguageModel`. Built-in tasks are listed in ``zobench/tasks/catalogue.py``;
plugins register others in the entry-point group ``zobench.tasks``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.data.example import Example, Splits
from zobench.data.image import Image
from zobench.models.base import LanguageModel


@dataclass(frozen=True, slots=True)
class Batch:
    """A minibatch ready for the model: tensors on the model's device, and its cost.

    Attributes:
        inputs: all that ``Task.loss`` needs (token ids, masks, targets).
        sequences: number of sequences in one forward pass of this batch (one per candidate answer where
            candidates are scored).
        tokens: non-padding tokens in them.
    """

    inputs: Mapping[str, Any]
    sequences: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Questions:
    """Prompts whose answers are generated, the longest answer in tokens, and the strings that end an
    answer."""

    prompts: tuple[str, ...]
    max_new_tokens: int
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's answer to one example.

    Attributes:
        output: label word or extracted final answer, as text.
        correct: whether the answer is right by the task's rule.
        label: predicted class index; ``None`` for generation.
        log_probs: natural-log probabilities over the candidates, normalized to sum to one; ``None`` for
            generation.
        raw: full generated text (empty for classification).
        tokens: number of generated tokens (0 for classification).
        strict_correct: whether the answer of the strict extractor is right (``correct`` uses the robust
            one); ``None`` if the task has only one extractor.
        picture: what a page shows of the answer, as a data URI; ``None``: the example's image if the answer
            is wrong.
    """

    example_id: str
    output: str
    correct: bool
    label: int | None = None
    log_probs: tuple[float, ...] | None = None
    raw: str = ""
    tokens: int = 0
    strict_correct: bool | None = None
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A measured value: the mean, the number of items, and the standard error if it is defined."""

    value: float
    n: int
    stderr: float | None = None


class Task(ABC):
    """Base class of tasks.

    Class attributes: ``Config`` is a frozen dataclass of typed parameters with defaults, each with a
    docstring line; ``kind`` is ``classification``, ``multiple-choice``, ``generation``,
    ``image-classification``, ``image-generation``, ``image-scoring`` or ``proxy``; the leaderboard is sorted
    by ``primary_metric``.
    """

    Config: ClassVar[type]
    kind: ClassVar[str]
    primary_metric: ClassVar[str] = "accuracy"

    scores: ClassVar[tuple[str, ...]] = ()
    """Scores of a minibatch that a run may maximize instead of minimizing the loss: ``accuracy``, ``f1``."""

    @classmethod
    def scores_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The ``scores`` that the task supports with these parameters of its ``Config``."""
        return cls.scores

    measures: ClassVar[tuple[str, ...]] = ()
    """Names of :meth:`metrics`; empty if the task does not declare them. Then names are not checked."""

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The ``measures`` that the task supports with these parameters of its ``Config``."""
        return cls.measures

    coded: ClassVar[bool] = False
    """Whether the task has :meth:`code` and :meth:`code_losses` on some models."""

    @classmethod
    def asks_black_box(cls, params: Mapping[str, Any]) -> str:
        """The parameter whose value makes minibatches ask a black box behind a denoiser, which only some
        models have; empty if none does."""
        return ""

    config: Any
    chance: float | None = None
    attackable: tuple[str, ...] = ()
    """Text fields that an attack may edit."""
    protected: tuple[str, ...] = ()
    """Words that no attack may edit or insert (label words, answer markers)."""

    def revision(self, lm: LanguageModel) -> int:
        """Version of the arithmetic that scores this task's examples with this model.

        Above 1 it is part of a run's identity."""
        return 1

    def class_name(self, label: int) -> str:
        """What a message calls that class."""
        return str(label)

    def prompt_text(self, example: Example) -> str:
        """What a page shows as the question: here the text fields, named if there are several. Prompts are
        shown without demonstrations and without a model's chat template."""
        if len(example.text) == 1:
            return next(iter(example.text.values()))
        return "\n".join(f"{name}: {text}" for name, text in example.text.items())

    def gold_text(self, example: Example) -> str:
        """The gold answer in words; empty if the example has none."""
        if example.answer is not None:
            return example.answer
        if example.label is None:
            return ""
        return example.candidates[example.label] if example.candidates else self.class_name(example.label)

    def refuse_model(self, lm: LanguageModel) -> None:
        """``ValueError`` if the task cannot run on this kind of model."""
        if lm.architecture == "image":
            raise ValueError(f"{lm.identity.name} classifies images; a task of kind {self.kind} needs text")
        if lm.architecture == "flow":
            raise ValueError(f"{lm.identity.name} generates images; a task of kind {self.kind} needs text")
        if lm.architecture == "ranker":
            raise ValueError(f"{lm.identity.name} ranks networks; a task of kind {self.kind} needs text")

    @abstractmethod
    def splits(self, seed: int) -> Splits:
        """Examples for one data seed. The same seed gives the same examples in the same order on every
        machine."""

    @abstractmethod
    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """Tokenize a training minibatch once. Cost: no forward pass."""

    @abstractmethod
    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean training loss over the minibatch, a scalar tensor, float32 except within
        ``zobench.models.scoring.in_dtype_of_logits`` (``loss_dtype: logits``). Cost: one forward pass.

        ``module`` is ``lm.module`` or a stand-in with the same call signature (perturbed copy, functional
        view), so the forward pass must use the argument, never ``lm.module``.
        """

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Losses whose mean is :meth:`loss`, one per item of the minibatch, as a float32 vector.

        An item is an example, or an answer token if the loss is a mean over tokens. By default the whole
        minibatch is one item. Cost: one forward pass.
        """
        return self.loss(lm, module, batch).reshape(1)

    def residual(
        self, lm: LanguageModel, module: torch.nn.Module, batch: Batch
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """For a loss 1/2 |f(theta) - y|^2: the loss, and f(theta) - y by parameter name (see
        ``Objective.residual``). ``ValueError`` for other losses. Cost: one forward pass."""
        raise ValueError(f"a task of kind {self.kind} has no residual")

    def code(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Codes of the minibatch's examples, of shape (examples, m), in front of a part of the model that can
        only be queried (see ``Objective.code_gradient``). ``ValueError`` if there is no such part."""
        raise ValueError(f"a task of kind {self.kind} has no code")

    def code_losses(
        self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, points: torch.Tensor
    ) -> torch.Tensor:
        """Losses of shape (k, examples) at codes of shape (k, examples, m). Cost: k forward passes."""
        raise ValueError(f"a task of kind {self.kind} has no code")

    def scored_batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """A training minibatch for :meth:`score`; by default the same as for the loss."""
        return self.batch(lm, examples)

    def score(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, name: str) -> torch.Tensor:
        """A score of the minibatch in [0, 1] by one of the names in ``scores``, as a float32 scalar tensor
        without a gradient. ``batch`` comes from :meth:`scored_batch`; ``module`` as in :meth:`loss`."""
        raise ValueError(f"this task has no score {name!r} to train on")

    def questions(self, lm: LanguageModel, examples: Sequence[Example]) -> Questions:
        """The questions of these examples, for training on a reward of generated answers. ``ValueError`` if
        the task does not generate answers."""
        raise ValueError("this task generates no answers that could be rewarded")

    def shown(self, lm: LanguageModel, examples: Sequence[Example]) -> list[Image | str]:
        """What a person sees of the model's answers, one image or text per example, for ``zobench rate``.
        ``ValueError`` if there is nothing to rank. Cost: one forward pass for an image, one per generated
        token for a text."""
        raise ValueError(
            f"a task of kind {self.kind} has no pictures or texts that a person could rank; choose one "
            "that generates images or texts (--task)"
        )

    def judge(self, example: Example, text: str, tokens: int = 0) -> Prediction:
        """The prediction of one generated answer; only for tasks that generate answers."""
        raise ValueError("this task generates no answers")

    @abstractmethod
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """Answers in the order of ``examples``; ``demonstrations`` precede each prompt for in-context
        learning."""

    @abstractmethod
    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """Named metrics of these predictions, ``primary_metric`` among them."""
