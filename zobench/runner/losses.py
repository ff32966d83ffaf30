"""The training objective of a run: its task's loss, or 1 minus a score of the minibatch if the suite sets
``train_on`` to ``accuracy`` or ``f1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zobench.models.scoring import in_dtype_of_logits
from zobench.runner.micro_batches import loss_in_parts, parts_of
from zobench.zo.objective import LossFunction

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.spec import RunSpec
    from zobench.tasks.base import Task


def loss_of(spec: RunSpec, lm: LanguageModel, task: Task) -> LossFunction:
    """``loss(module, batch)`` of the run, computed in ``spec.loss_dtype``; for a score, 1 - score in
    [0, 1]."""

    def loss(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        if parts := parts_of(batch):
            return loss_in_parts(lambda part: task.item_losses(lm, module, part), parts)
        with in_dtype_of_logits(spec.loss_dtype == "logits"):
            return task.loss(lm, module, batch)

    def errors(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        return 1.0 - task.score(lm, module, batch, spec.train_on)

    return loss if spec.train_on == "loss" else errors


def items_of(spec: RunSpec, lm: LanguageModel, task: Task) -> LossFunction:
    """``items(module, batch)``: the per-item losses; their mean is the task's loss."""

    def items(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        if parts := parts_of(batch):
            return torch.cat([task.item_losses(lm, module, part) for part, _ in parts])
        with in_dtype_of_logits(spec.loss_dtype == "logits"):
            return task.item_losses(lm, module, batch)

    return items


def differentiable(spec: RunSpec) -> bool:
    """Whether the training objective of the run has a gradient."""
    return spec.train_on == "loss"
