"""R-AdaZO: Adam-like steps with the second moment of the first moment (arXiv 2502.01014).

g = (1/n) sum_i [(L(theta + eps u_i) - L(theta)) / eps] u_i
m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) m^2
theta <- theta - eta m / (sqrt(v) + zeta)   (``root``: or m / sqrt(v + zeta))

n + 1 forward passes per step; two float32 moments per tuned entry, rebuilt by replay. No bias correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from zobench.zo.base import MethodCard
from zobench.zo.methods.one_sided_moments import OneSidedMoments
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Update


@dataclass(frozen=True)
class RAdazoConfig(Parameters):
    """Parameters of R-AdaZO; moments, zeta and n of the author's optimizer file.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps; with the paper's unit-sphere directions, mu = eps sqrt(d).
        n: directions per step (K).
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        zeta: constant that keeps the denominator positive.
        root: zeta is ``outside`` the root, as in the author's file, or ``inside``, as in the paper.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-3
    n: Count = 2
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    zeta: Positive = 1e-8
    root: Literal["outside", "inside"] = "outside"


class RefinedAdam(Update):
    """m and v = ema(m^2); theta <- theta - eta m / (sqrt(v) + zeta), or zeta under the root."""

    slots = ("first", "second")

    def __init__(self, config: RAdazoConfig) -> None:
        super().__init__()
        self.beta1, self.beta2 = config.beta1, config.beta2
        self.zeta, self.inside = config.zeta, config.root == "inside"

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m, v = self.slot("first", name, gradient), self.slot("second", name, gradient)
        m.mul_(self.beta1).add_(gradient.mul_(1.0 - self.beta1))
        v.mul_(self.beta2).add_(m.square().mul_(1.0 - self.beta2))
        return m / ((v + self.zeta).sqrt_() if self.inside else v.sqrt().add_(self.zeta))


class RAdazo(OneSidedMoments):
    """Adaptive steps with a variance-reduced second moment."""

    Config = RAdazoConfig
    slots = 2
    card = MethodCard(
        name="r-adazo",
        title="R-AdaZO",
        source="arXiv 2502.01014",
        formula="m <- ema(g), v <- ema(m^2); theta <- theta - eta m / (sqrt(v) + zeta)",
        order="zeroth",
        replay="scalars",
        notes="The root, beta2 and n follow the author's optimizer file (shuyao95/R-AdaZO@f7c9377, "
        "2025-07-17, read 2026-11-29). That file draws from the unit sphere without the factor d and "
        "estimates one tensor at a time with 2n losses each. Here N(0, I) displaces all tensors together, "
        "which is the paper's estimate (sphere with factor d) up to the fluctuation of the length. The "
        "file's lr 1e-3 and mu 5e-3 belong to its directions and are not used.",
        revision=2,
    )

    def make_update(self) -> RefinedAdam:
        return RefinedAdam(self.config)
