"""Unlearning objectives in the form of the optimizer library: one scalar, or two combined gradients, with
their cost.

Units: a loss query costs 1 forward pass, a gradient 3; preparing a minibatch costs 1 more at theta and 1 more
of the reference model if the objective needs them. A method with two gradients costs a first-order step
twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from zobench.unlearning import terms
from zobench.unlearning.base import (
    Batch,
    Card,
    Constants,
    Context,
    Passes,
    UnlearningMethod,
    UnlearningObjective,
    loss_function,
)
from zobench.unlearning.objectives.retained import ForgetRetain
from zobench.unlearning.objectives.task_vector import TaskVector
from zobench.unlearning.objectives.two_gradients import Blur
from zobench.zo.base import Cost, MethodCard
from zobench.zo.objective import FORWARDS_PER_GRADIENT, Meter
from zobench.zo.separate import TwoTerms


class Reinforce(UnlearningObjective):
    """l(f): further training on the forget set, the first part of a task vector. Cost: 1 forward pass."""

    Config = TaskVector.Config
    card = Card("reinforce", "Training on the forget set", "2212.04089", "l(f)")

    def parts(self) -> tuple[str, ...]:
        return ("forget",)

    def passes(self) -> Passes:
        return Passes(loss=1)

    def value(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        return terms.mean_nll(context.module, batch.part("forget"))


class Joined(UnlearningObjective):
    """Two losses whose gradients a method combines; the scalar is their weighted sum, used for records."""

    Config = Blur.Config
    card = Blur.card

    def __init__(self, method: Blur) -> None:
        super().__init__(method.config)
        self.method = method

    def parts(self) -> tuple[str, ...]:
        return ("forget", "retain")

    def passes(self) -> Passes:
        return Passes(loss=2, reference=1)

    def value(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        forget, retain = self.method.losses(context, batch)
        return forget + self.config.alpha * retain


def target_of(cls: type[UnlearningMethod], config: Any) -> UnlearningObjective:
    """The objective that an optimizer minimizes for a method of the catalogue: itself if it is one."""
    method = cls(config)
    if isinstance(method, UnlearningObjective):
        return method
    return Joined(method) if isinstance(method, Blur) else Reinforce(config)


def prepared_forwards(target: UnlearningObjective) -> int:
    """Cost of preparing one minibatch in forward passes."""
    passes = target.passes()
    return int(passes.prepare > 0) + int(passes.reference > 0)


def two_terms(target: UnlearningObjective) -> bool:
    """Whether the gradients of a forget and a retain term can be computed separately."""
    split = isinstance(target, ForgetRetain) and target.config.retain != "none"
    return split or isinstance(target, Joined)


def apart(method: MethodCard) -> bool:
    """Whether an optimizer needs the separate gradients of the two terms."""
    return "separate-gradients" in method.needs


def cost_under(cost: Cost, target: UnlearningObjective, method: MethodCard) -> Cost:
    """An optimizer's declared cost on this objective; a cost of 0 stays 0."""
    if cost.max_forwards_in_step == 0:
        return cost
    both = isinstance(target, Joined) or (apart(method) and two_terms(target))
    factor, extra = 2 if both else 1, prepared_forwards(target)
    return dataclasses.replace(
        cost,
        forwards_per_step=cost.forwards_per_step * factor + extra,
        max_forwards_in_step=cost.max_forwards_in_step * factor + extra,
    )


class Counted(TwoTerms):
    """The optimizer library's objective for an unlearning objective; counts backward passes.

    It combines the gradients of two-gradient methods, and gives first-order optimizers the separate gradients
    of the two terms. Either costs another 3 forward passes."""

    def __init__(
        self, module: nn.Module, target: UnlearningObjective, reference: nn.Module, meter: Meter
    ) -> None:
        super().__init__(module, loss_function(target, reference), meter)
        self.target, self.reference, self.backwards = target, reference, 0

    def _differentiated(
        self, parameters: Mapping[str, nn.Parameter], value: Callable[[], torch.Tensor]
    ) -> tuple[float, dict[str, torch.Tensor]]:
        found = super()._differentiated(parameters, value)
        self.backwards += 1
        return found

    def gradient(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, dict[str, torch.Tensor]]:
        if not isinstance(self.target, Joined):
            return super().gradient(parameters)
        loss, forget, retain = self.gradients(parameters)
        assert retain is not None, "two gradients to join"
        return loss, self.target.method.combine(forget, retain)

    def gradients(
        self, parameters: Mapping[str, nn.Parameter]
    ) -> tuple[float, dict[str, torch.Tensor], dict[str, torch.Tensor] | None]:
        if not two_terms(self.target):
            loss, gradient = super().gradient(parameters)
            return loss, gradient, None
        self._charge(2 * FORWARDS_PER_GRADIENT)
        self.backwards += 2
        asked = {name: p.requires_grad for name, p in parameters.items()}
        tensors = list(parameters.values())
        try:
            for p in tensors:
                p.requires_grad_(True)
            with torch.enable_grad():
                losses, weights = self._terms()
                both = [torch.autograd.grad(x, tensors, retain_graph=True, allow_unused=True) for x in losses]
        finally:
            for name, p in parameters.items():
                p.requires_grad_(asked[name])
        forget, retain = (
            {
                n: torch.zeros_like(p) if g is None else g
                for (n, p), g in zip(parameters.items(), gs, strict=True)
            }
            for gs in both
        )
        loss = sum(w * float(x.detach()) for w, x in zip(weights, losses, strict=True))
        return float(loss), forget, retain

    def _terms(self) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[float, float]]:
        """The unweighted forget and retain terms, and their weights in the recorded loss."""
        context = Context(self.module, self.reference)
        if isinstance(self.target, Joined):
            return self.target.method.losses(context, self.batch), (1.0, self.target.config.alpha)
        assert isinstance(self.target, ForgetRetain), "only objectives of two terms have them"
        constants = self.batch.constants
        assert constants is not None, "minibatches are prepared before the step"
        pair = (
            self.target.forget(context, self.batch, constants),
            self.target.kept(context, self.batch, constants),
        )
        return pair, (self.target.config.gamma, self.target.weight)
