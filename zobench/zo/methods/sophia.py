"""Sophia-H: momentum divided by a diagonal curvature estimate, clipped entry by entry (arXiv 2305.14342).

m <- beta1 m + (1 - beta1) g
every k steps:  h <- beta2 h + (1 - beta2) u * Hu,  u in {-1, 1}^d
theta <- theta - eta clip(m / max(gamma h, zeta), 1)

Hu by a central difference of gradients, (grad L(theta + mu u) - grad L(theta - mu u)) / (2 mu), on the step's
own minibatch. 3 forward passes per step, and 6 more in every k-th step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo.arithmetic import add_scaled_
from zobench.zo.base import Cost, MethodCard
from zobench.zo.engine import Engine
from zobench.zo.methods.first_order import FirstOrder
from zobench.zo.methods.first_order_smooth import LossAndGradient, gradient_at
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.updates import Update


@dataclass(frozen=True)
class SophiaConfig(Parameters):
    """Parameters of Sophia-H, values of the paper.

    Attributes:
        lr: step size eta, the maximum change of an entry.
        beta1: decay of the momentum.
        beta2: decay of the curvature.
        gamma: weight of the curvature.
        every: number of steps between two curvature estimates (k).
        zeta: minimum denominator.
        mu: distance of the finite difference.
    """

    lr: Rate = 1e-5
    beta1: FractionBelowOne = 0.965
    beta2: FractionBelowOne = 0.99
    gamma: Positive = 0.01
    every: Count = 10
    zeta: Positive = 1e-12
    mu: Positive = 1e-3


class Clipped(Update):
    """The step is clip(m / max(gamma h, zeta), 1)."""

    slots = ("first", "curvature")

    def __init__(self, config: SophiaConfig) -> None:
        super().__init__()
        self.config = config

    def curve(self, name: str, estimate: torch.Tensor) -> None:
        """h <- beta2 h + (1 - beta2) * estimate. An estimate that is not finite is ignored."""
        if bool(estimate.isfinite().all()):
            h = self.slot("curvature", name, estimate)
            add_scaled_(h.mul_(self.config.beta2), estimate, 1.0 - self.config.beta2)

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        c = self.config
        m, h = self.slot("first", name, gradient), self.slot("curvature", name, gradient)
        add_scaled_(m.mul_(c.beta1), gradient, 1.0 - c.beta1)
        return (m / (c.gamma * h).clamp_min(c.zeta)).clamp_(-1.0, 1.0)


class Sophia(FirstOrder):
    """Clipped steps with a diagonal curvature estimate."""

    Config = SophiaConfig
    updater: Clipped
    card = MethodCard(
        name="sophia",
        title="Sophia-H",
        source="arXiv 2305.14342",
        formula="theta <- theta - eta clip(m / max(gamma h, zeta), 1), h <- ema(u * Hu) every k steps",
        order="first",
        replay="checkpoint",
        notes="Hutchinson's estimate with the Hessian-vector product by a finite difference of gradients; "
        "the authors differentiate twice. A second-order method whose cost consists of gradients.",
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.signs = self.engine.rademacher()

    @classmethod
    def cost(cls, config: SophiaConfig) -> Cost:
        return Cost(3 + 6 / config.every, 9, 1 + 4 / config.every, 8)

    def make_update(self) -> Clipped:
        return Clipped(self.config)

    def measured(self, objective: Objective) -> LossAndGradient:
        if self.t % self.config.every == 0:
            self._curvature(objective)
        return objective.gradient(self.space.tensors)

    def _curvature(self, objective: Objective) -> None:
        mu = self.config.mu
        u = {n: torch.zeros(self.space.shape(n), device=self.space.device) for n in self.space}
        self.signs.add_many_(u, self.seeds(1)[0], 1.0)
        ahead, behind = (gradient_at(self.space, objective, u.__getitem__, scale)[1] for scale in (mu, -mu))
        for name in self.space:
            difference = self.tuned(name, ahead[name]) - self.tuned(name, behind[name])
            self.updater.curve(name, u[name].to(difference) * difference / (2 * mu))
