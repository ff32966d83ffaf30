"""Unlearning objectives as the optimizer library sees them: one scalar, or two gradients joined, with what a
step costs.

Units: a loss query is 1 forward, a gradient 3; preparing a minibatch is 1 more at theta and 1 more at the
reference where the objective needs them. A method of two gradients costs a first-order step twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context, Method, Objective, Passes, loss_function
from zobench.unlearning.objectives.task_vector import TaskVector
from zobench.unlearning.objectives.two_gradients import Blur
from zobench.zo.base import Cost
from zobench.zo.objective import FORWARDS_PER_GRADIENT, Meter
from zobench.zo.objective import Objective as Metered


class Reinforce(Objective):
    """l(f): training further on the forget set, the first half of a task vector. 1 pass."""

    Config = TaskVector.Config
    card = Card("reinforce", "Training on the forget set", "2212.04089", "l(f)")

    def parts(self) -> tuple[str, ...]:
        return ("forget",)

    def passes(self) -> Passes:
        return Passes(loss=1)

    def value(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        return terms.mean_nll(context.module, batch.part("forget"))


class Joined(Objective):
    """Two losses whose gradients a method joins; the scalar is their weighted sum and serves as a record."""

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


def target_of(cls: type[Method], config: Any) -> Objective:
    """What an optimizer minimizes for the catalogue's method: itself where it is an objective."""
    method = cls(config)
    if isinstance(method, Objective):
        return method
    return Joined(method) if isinstance(method, Blur) else Reinforce(config)


def prepared_forwards(target: Objective) -> int:
    """Forwards that preparing one minibatch costs."""
    passes = target.passes()
    return int(passes.prepare > 0) + int(passes.reference > 0)


def cost_under(cost: Cost, target: Objective) -> Cost:
    """An optimizer's declared cost on this objective. Steps that cost nothing stay free."""
    if cost.max_forwards_in_step == 0:
        return cost
    factor, extra = 2 if isinstance(target, Joined) else 1, prepared_forwards(target)
    return dataclasses.replace(
        cost,
        forwards_per_step=cost.forwards_per_step * factor + extra,
        max_forwards_in_step=cost.max_forwards_in_step * factor + extra,
    )


class Counted(Metered):
    """The optimizer library's objective on an unlearning objective; counts backward passes, and joins two
    gradients where the method has two (another 3 forwards)."""

    def __init__(self, module: nn.Module, target: Objective, reference: nn.Module, meter: Meter) -> None:
        super().__init__(module, loss_function(target, reference), meter)
        self.target, self.reference, self.backwards = target, reference, 0

    def gradient(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, dict[str, torch.Tensor]]:
        if not isinstance(self.target, Joined):
            found = super().gradient(parameters)
            self.backwards += 1
            return found
        self._charge(2 * FORWARDS_PER_GRADIENT)
        self.backwards += 2
        return self._joined(self.target, parameters)

    def _joined(
        self, target: Joined, parameters: Mapping[str, nn.Parameter]
    ) -> tuple[float, dict[str, torch.Tensor]]:
        asked = {name: p.requires_grad for name, p in parameters.items()}
        tensors = list(parameters.values())
        try:
            for p in tensors:
                p.requires_grad_(True)
            with torch.enable_grad():
                losses = target.method.losses(Context(self.module, self.reference), self.batch)
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
        scalar = float(losses[0].detach() + target.config.alpha * losses[1].detach())
        return scalar, target.method.combine(forget, retain)
