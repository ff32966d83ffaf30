"""Base class for tasks that change one aspect of another task and delegate the rest to it.

The ``Config`` of a subclass has ``of``, the inner task's name, and ``params``, its parameters. Planning reads
the subclass's own ``kind``, and those of its ``scores`` that the inner task also has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import torch

from zobench.data.example import Example, Splits
from zobench.models.base import LanguageModel
from zobench.names import nearest
from zobench.plugins import lookup
from zobench.tasks.base import Batch, MetricValue, Prediction, Task


def made(of: str, params: Mapping[str, Any]) -> Task:
    """The inner task; ``ValueError`` for an unknown name or wrong parameters."""
    try:
        inner: Any = lookup("tasks", of)
    except ValueError as error:
        raise ValueError(f"of: {error}") from error
    known = [f.name for f in fields(inner.Config)]
    for name in params:
        if name not in known:
            raise ValueError(f"params: task {of!r} has no parameter {name!r}{nearest(name, known)}")
    task: Task = inner(inner.Config(**params))
    return task


class WrappedTask(Task):
    """A task that delegates to the task ``inner``."""

    kind: ClassVar[str] = "classification"

    def __init__(self, config: Any) -> None:
        self.config = config
        self.inner: Task = made(config.of, config.params)
        self.kind, self.primary_metric = self.inner.kind, self.inner.primary_metric  # type: ignore[misc]
        self.attackable, self.protected = self.inner.attackable, self.inner.protected
        self.chance = self.inner.chance

    @classmethod
    def scores_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        config = cls.Config(**params)
        inner = lookup("tasks", config.of).scores_with(config.params)
        return tuple(s for s in cls.scores if s in inner)

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        config = cls.Config(**params)
        inner: tuple[str, ...] = lookup("tasks", config.of).measures_with(config.params)
        return inner

    def class_name(self, label: int) -> str:
        return self.inner.class_name(label)

    def prompt_text(self, example: Example) -> str:
        return self.inner.prompt_text(example)

    def gold_text(self, example: Example) -> str:
        return self.inner.gold_text(example)

    def revision(self, lm: LanguageModel) -> int:
        return self.inner.revision(lm)

    def splits(self, seed: int) -> Splits:
        return self.inner.splits(seed)

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        return self.inner.batch(lm, examples)

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return self.inner.loss(lm, module, batch)

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return self.inner.item_losses(lm, module, batch)

    def scored_batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        return self.inner.scored_batch(lm, examples)

    def score(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, name: str) -> torch.Tensor:
        return self.inner.score(lm, module, batch, name)

    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        return self.inner.predict(lm, examples, demonstrations)

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        return self.inner.metrics(examples, predictions)
