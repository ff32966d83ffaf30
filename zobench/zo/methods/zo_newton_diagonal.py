"""SPSA preconditioned by a running diagonal of the Hessian from quadratic forms (arXiv 2506.15360).

d_hat = (1 / 2n) sum_i q_i (u_i^2 - 1),  q_i = (L(theta + eps u_i) + L(theta - eps u_i) - 2 L(theta)) / eps^2
D <- beta D + (1 - beta) d_hat,  D_hat = D / (1 - beta^t)
theta <- theta - eta g_hat / max(|D_hat|, floor),  g_hat the two-sided estimate from the same losses

2n + 1 forward passes per step; one float32 diagonal per tuned entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate
from zobench.zo.hessian import Curvature, two_sided_with_curvature
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Update


@dataclass(frozen=True)
class ZoNewtonDiagonalConfig(Parameters):
    """Parameters of the diagonal Newton step. No paper gives values; eta is chosen for |D| near its floor.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        beta: decay of the running diagonal.
        floor: minimum curvature by which an entry is divided.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-2
    n: Count = 1
    beta: FractionBelowOne = 0.99
    floor: Positive = 1.0


class DiagonalNewton(Update):
    """D <- beta D + (1 - beta) d_hat; the estimate divided by max(|D_hat|, floor)."""

    slots = ("diagonal",)

    def __init__(self, beta: float, floor: float) -> None:
        super().__init__()
        self.beta, self.floor = beta, floor
        self.sample: tuple[Any, Curvature] | None = None

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        assert self.sample is not None, "set by the method before apply"
        direction, curvature = self.sample
        held = self.slot("diagonal", name, gradient)
        held.mul_(self.beta).add_(curvature.diagonal(direction, name).mul_(1.0 - self.beta))
        below = held.abs().div_(1.0 - self.beta**self.count).clamp_min_(self.floor)
        return gradient.div_(below)


class ZoNewtonDiagonal(ZerothOrder):
    """Diagonal Newton steps from losses only."""

    Config = ZoNewtonDiagonalConfig
    card = MethodCard(
        name="zo-newton-diagonal",
        title="Diagonal Hessian from quadratic forms",
        source="arXiv 2506.15360 (estimator); zobench (step)",
        formula="theta <- theta - eta g_hat / max(|ema of (1/2n) sum_i q_i (u_i^2 - 1)|, floor)",
        order="zeroth",
        replay="scalars",
        unbiased=True,
        notes="The paper gives the estimator, not an optimizer: running mean, bias correction, absolute "
        "value and floor are zobench's choices. The gradient estimate is unbiased, the update is not. eps "
        "is 10 times MeZO's, because second differences lose twice as many digits.",
        revision=2,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._curvature: Curvature | None = None

    @classmethod
    def cost(cls, config: ZoNewtonDiagonalConfig) -> Cost:
        return Cost(2 * config.n + 1, 2 * config.n + 1, 4 * config.n, 4)

    def make_update(self) -> DiagonalNewton:
        return DiagonalNewton(self.config.beta, self.config.floor)

    def measure(self, objective: Objective) -> Estimate:
        estimate, self._curvature = two_sided_with_curvature(
            self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing()
        )
        return estimate

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        assert isinstance(self.updater, DiagonalNewton)
        assert self._curvature is not None
        self.updater.sample = (self.direction, self._curvature)
        return super().update(estimate, lr)
