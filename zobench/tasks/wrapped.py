"""A task that is another one but for what it changes: the rest is the inner task's.

A subclass's ``Config`` has ``of``, the inner task's name, and ``params``, its parameters; planning reads the
subclass's own ``kind`` and ``scores``, since the inner task is only known by its configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from zobench.data.example import Example, Splits
from zobench.models.base import LanguageModel
from zobench.plugins import lookup
from zobench.tasks.base import Batch, MetricValue, Prediction, Task


class WrappedTask(Task):
    """The inner task under another name. ``inner`` is it."""

    kind: ClassVar[str] = "classification"

    def __init__(self, config: Any) -> None:
        self.config = config
        made = lookup("tasks", config.of)
        self.inner: Task = made(made.Config(**config.params))
        self.kind, self.primary_metric = self.inner.kind, self.inner.primary_metric  # type: ignore[misc]
        self.attackable, self.protected = self.inner.attackable, self.inner.protected
        self.chance = self.inner.chance

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
