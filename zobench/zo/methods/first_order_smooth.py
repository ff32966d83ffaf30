"""First-order baselines with gradients at displaced weights, followed by Adam's step.

sam:                   grad L(theta + rho g/||g||), g = grad L(theta)                  (arXiv 2010.01412)
gradient-penalty:      g + rho (grad L(theta + mu g/||g||) - g) / mu: the gradient of L + rho ||grad L||, with
                       the product of Hessian and direction by a finite difference     (arXiv 2202.03599)
randomized-smoothing:  mean_i grad L(theta + sigma z_i), z_i ~ N(0, I): the quantity that a zeroth-order
                       estimator estimates, hence its first-order counterpart          (arXiv 2502.05374)

All terms of the loss are evaluated at the displaced weights, including forget and retain terms. 6, 6 and 3n
forward passes per step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.engine import Engine
from zobench.zo.methods.first_order import FirstOrder
from zobench.zo.methods.first_order_signs import AdamConfig
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Positive
from zobench.zo.space.base import ParameterSpace
from zobench.zo.updates import Adam, Update

LossAndGradient = tuple[float, dict[str, torch.Tensor]]


@dataclass(frozen=True)
class SamConfig(AdamConfig):
    """Adam on SAM's gradient; rho of the Unlearn-Smooth scripts, moments as in torch.

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        rho: distance of the ascent point (0.01 for NPO in Unlearn-Smooth).
    """

    rho: Positive = 0.01


@dataclass(frozen=True)
class GradientPenaltyConfig(AdamConfig):
    """Adam on the loss with a penalty on the gradient's norm; moments as in torch, the others are choices.

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        rho: weight of the norm.
        mu: distance of the finite difference.
    """

    rho: Positive = 0.1
    mu: Positive = 1e-2


@dataclass(frozen=True)
class SmoothingConfig(AdamConfig):
    """Adam on the gradient of the smoothed loss (scripts of Unlearn-Smooth: sigma 1e-4, 3 draws).

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        sigma: standard deviation of the displacements.
        n: displacements per step.
    """

    sigma: Positive = 1e-4
    n: Count = 3


Taken = Callable[[Objective, ParameterSpace], LossAndGradient]


def plain_gradient(objective: Objective, space: ParameterSpace) -> LossAndGradient:
    """The minibatch's loss and its gradient at the current weights. Cost: 3 forward passes."""
    return objective.gradient(space.tensors)


def gradient_at(
    space: ParameterSpace,
    objective: Objective,
    move: Callable[[str], torch.Tensor],
    scale: float,
    taken: Taken = plain_gradient,
) -> LossAndGradient:
    """Loss and gradient at theta + scale * move; the weights are then restored exactly. Cost: 3 forward
    passes."""
    before = space.snapshot()
    try:
        for name in space:
            space.put_(name, before[name] + (scale * move(name)).to(before[name].dtype))
        return taken(objective, space)
    finally:
        space.restore(before)


class Looking(FirstOrder):
    """Base of methods that apply Adam to a gradient taken at displaced weights."""

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.noise = self.engine.gaussian()

    def make_update(self) -> Update:
        c = self.config
        return Adam(c.beta1, c.beta2, c.delta)

    def length(self, grads: Mapping[str, torch.Tensor]) -> float:
        """Euclidean norm over the tuned entries, summed in float64."""
        squares = (float(self.tuned(n, g).double().square().sum()) for n, g in grads.items())
        return math.sqrt(math.fsum(squares))

    def uphill(
        self,
        objective: Objective,
        grads: Mapping[str, torch.Tensor],
        step: float,
        taken: Taken = plain_gradient,
    ) -> LossAndGradient:
        """Loss and gradient at theta + step * g/||g||; at theta if g is zero or not finite."""
        norm = self.length(grads)
        scale = step / norm if norm > 0 and math.isfinite(norm) else 0.0
        return gradient_at(self.space, objective, lambda n: self.tuned(n, grads[n]), scale, taken)


class Sam(Looking):
    """Sharpness-aware minimization."""

    Config = SamConfig
    card = MethodCard(
        name="sam",
        title="SAM (first-order)",
        source="arXiv 2010.01412",
        formula="Adam on grad L(theta + rho g/||g||), g = grad L(theta)",
        order="first",
        replay="checkpoint",
        revision=2,
    )

    @classmethod
    def cost(cls, config: SamConfig) -> Cost:
        return Cost(6, 6, 3, 8)

    def measured(self, objective: Objective) -> LossAndGradient:
        loss, grads = objective.gradient(self.space.tensors)
        return loss, self.uphill(objective, grads, self.config.rho)[1]


class GradientPenalty(Looking):
    """L + rho ||grad L||, including the gradient of the penalty."""

    Config = GradientPenaltyConfig
    card = MethodCard(
        name="gradient-penalty",
        title="Gradient-norm penalty (first-order)",
        source="arXiv 2202.03599",
        formula="Adam on g + rho (grad L(theta + mu g/||g||) - g)/mu",
        order="first",
        replay="checkpoint",
        notes="The product of Hessian and direction is a one-sided difference of gradients.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: GradientPenaltyConfig) -> Cost:
        return Cost(6, 6, 3, 8)

    def measured(self, objective: Objective) -> LossAndGradient:
        loss, grads = objective.gradient(self.space.tensors)
        _, ahead = self.uphill(objective, grads, self.config.mu)
        weight = self.config.rho / self.config.mu
        return loss, {n: g + weight * (ahead[n] - g) for n, g in grads.items()}


class RandomizedSmoothing(Looking):
    """The gradient of the loss smoothed by a Gaussian."""

    Config = SmoothingConfig
    card = MethodCard(
        name="randomized-smoothing",
        title="Randomized smoothing (first-order)",
        source="arXiv 2502.05374",
        formula="Adam on mean_i grad L(theta + sigma z_i)",
        order="first",
        replay="checkpoint",
        notes="The recorded loss is the mean over the displaced points.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: SmoothingConfig) -> Cost:
        return Cost(3 * config.n, 3 * config.n, 3 * config.n, 8)

    def measured(self, objective: Objective) -> LossAndGradient:
        found = []
        for seed in self.seeds(self.config.n):
            move = {n: torch.zeros(self.space.shape(n), device=self.space.device) for n in self.space}
            self.noise.add_many_(move, seed, 1.0)
            found.append(gradient_at(self.space, objective, move.__getitem__, self.config.sigma))
        losses = [loss for loss, _ in found]
        mean = {n: torch.stack([g[n] for _, g in found]).mean(0) for n in found[0][1]}
        return math.fsum(losses) / len(losses), mean
