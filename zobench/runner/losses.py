"""The training objective of a run: its task's loss, that loss plus a penalty
(:mod:`zobench.runner.bottleneck`), 1 minus a score of the minibatch (``train_on: accuracy``, ``f1``), or 1
minus the mean reward of generated answers (:mod:`zobench.runner.rewarded`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from zobench.models.scoring import in_dtype_of_logits
from zobench.runner.bottleneck import BottleneckLoss
from zobench.runner.micro_batches import loss_in_parts, parts_of
from zobench.runner.rewarded import RewardLoss
from zobench.spec import bottleneck_of, reward_of
from zobench.zo.objective import CodeLoss, LossFunction, Meter, Objective

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.runner.process_cache import ProcessCache
    from zobench.spec import RunSpec
    from zobench.tasks.base import Task


def objective_of(
    spec: RunSpec, bench: ProcessCache, meter: Meter | None = None, *, inference: bool = False
) -> Objective:
    """The training objective of the run.

    Args:
        meter: counts what is spent; default: a new one without a budget.
        inference: as for :class:`~zobench.zo.objective.Objective`.
    """
    lm, task, meter = bench.model(spec.model), bench.data(spec).task, meter or Meter()
    if (ref := reward_of(spec)) is not None:
        loss = RewardLoss(ref, lm, task, bench.reward(spec), meter)
        surrogate = loss.surrogate if sampled_groups(spec) else None
        return Objective(
            lm.module,
            loss,
            meter,
            differentiable=False,
            inference=inference,
            surrogate=surrogate,
            side_by_side=loss.side_by_side,
        )
    if bottleneck_of(spec) is not None:
        return Objective(lm.module, BottleneckLoss(spec, lm, task), meter, inference=inference)
    return Objective(
        lm.module,
        loss_of(spec, lm, task),
        meter,
        differentiable=differentiable(spec),
        inference=inference,
        items=items_of(spec, lm, task),
        residual=lambda module, batch: task.residual(lm, module, batch),
        code=CodeLoss(
            lambda module, batch: task.code(lm, module, batch),
            lambda module, batch, points: task.code_losses(lm, module, batch, points),
        ),
    )


def sampled_groups(spec: RunSpec) -> bool:
    """Whether the run trains on a reward with several sampled answers to each example, so that the score
    function estimates its gradient."""
    ref = reward_of(spec)
    return ref is not None and ref.temperature > 0 and ref.samples > 1


def loss_of(spec: RunSpec, lm: LanguageModel, task: Task) -> LossFunction:
    """``loss(module, batch)`` of a run without a reward, computed in ``spec.loss_dtype``; for a score, 1 -
    score in [0, 1]."""

    def loss(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        if parts := parts_of(batch):
            return loss_in_parts(lambda part: task.item_losses(lm, module, part), parts)
        with in_dtype_of_logits(spec.loss_dtype == "logits"):
            return task.loss(lm, module, batch)

    def errors(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        assert isinstance(spec.train_on, str), "rewards have their own objective"
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
    return spec.train_on == "loss" or bottleneck_of(spec) is not None
