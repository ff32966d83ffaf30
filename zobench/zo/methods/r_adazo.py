"""R-AdaZO: Adam-like steps whose second moment follows the squared first moment (arXiv 2502.01014).

g = (1/n) sum_i [(L(theta + eps u_i) - L(theta)) / eps] u_i
m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) m^2
theta <- theta - eta m / sqrt(v + zeta)

n + 1 forwards a step; two float32 moments per tuned entry, rebuilt by replay. No bias correction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.zo.base import MethodCard
from zobench.zo.methods.one_sided_moments import OneSidedMoments
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Update


@dataclass(frozen=True)
class RAdazoConfig(Parameters):
    """Parameters of R-AdaZO; the formula's, with moments as Adam's where values were not found.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps; with the paper's unit-sphere directions, mu = eps sqrt(d).
        n: directions per step (K).
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        zeta: added to the second moment under the root.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-3
    n: Count = 1
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.99
    zeta: Positive = 1e-8


class RefinedAdam(Update):
    """m and v = ema(m^2); theta <- theta - eta m / sqrt(v + zeta)."""

    slots = ("first", "second")

    def __init__(self, beta1: float, beta2: float, zeta: float) -> None:
        super().__init__()
        self.beta1, self.beta2, self.zeta = beta1, beta2, zeta

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m, v = self.slot("first", name, gradient), self.slot("second", name, gradient)
        m.mul_(self.beta1).add_(gradient.mul_(1.0 - self.beta1))
        v.mul_(self.beta2).add_(m.square().mul_(1.0 - self.beta2))
        return m / (v + self.zeta).sqrt_()


class RAdazo(OneSidedMoments):
    """Adaptive steps with a variance-reduced second moment."""

    Config = RAdazoConfig
    slots = 2
    card = MethodCard(
        name="r-adazo",
        title="R-AdaZO",
        source="arXiv 2502.01014",
        formula="m <- ema(g), v <- ema(m^2); theta <- theta - eta m / sqrt(v + zeta)",
        order="zeroth",
        replay="scalars",
        notes="The paper draws directions from the unit sphere with a factor d; N(0, I) has the same "
        "estimate up to the fluctuation of the length, and needs no sweep for the norm.",
        revision=2,
    )

    def make_update(self) -> RefinedAdam:
        return RefinedAdam(self.config.beta1, self.config.beta2, self.config.zeta)
