"""ZO-AdaMM: AMSGrad on a one-sided estimate (arXiv 1910.06513).

g = (1/n) sum_i [(L(theta + eps u_i) - L(theta)) / eps] u_i
m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2,  w <- max(w, v)
theta <- theta - eta m / (sqrt(w) + delta)

n + 1 forward passes per step; three float32 numbers of state per tuned entry, rebuilt by replay. There is no
bias correction. Without constraints the paper's projection is the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.zo.base import MethodCard
from zobench.zo.methods.one_sided_moments import OneSidedMoments
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Update


@dataclass(frozen=True)
class ZoAdammConfig(Parameters):
    """Parameters of ZO-AdaMM. Published values for language models were not found; decays are AMSGrad's.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps; with the paper's unit-sphere directions, mu = eps sqrt(d).
        n: directions per step.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-3
    n: Count = 1
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    delta: Positive = 1e-8


class AmsGrad(Update):
    """m, v and the running maximum w of v; theta <- theta - eta m / (sqrt(w) + delta)."""

    slots = ("first", "second", "largest")

    def __init__(self, beta1: float, beta2: float, delta: float) -> None:
        super().__init__()
        self.beta1, self.beta2, self.delta = beta1, beta2, delta

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m, v, w = (self.slot(slot, name, gradient) for slot in self.slots)
        m.mul_(self.beta1).add_(gradient * (1.0 - self.beta1))
        v.mul_(self.beta2).add_(gradient.square().mul_(1.0 - self.beta2))
        torch.maximum(w, v, out=w)
        return m / w.sqrt().add_(self.delta)


class ZoAdamm(OneSidedMoments):
    """Adaptive momentum with a second moment that never decreases."""

    Config = ZoAdammConfig
    slots = 3
    card = MethodCard(
        name="zo-adamm",
        title="ZO-AdaMM",
        source="arXiv 1910.06513",
        formula="m <- ema(g), w <- max(w, ema(g^2)); theta <- theta - eta m / (sqrt(w) + delta)",
        order="zeroth",
        replay="scalars",
        notes="The unconstrained case of a method for constrained black boxes. delta avoids a division by "
        "zero for entries without any estimate. Unit-sphere directions are replaced by N(0, I), as in "
        "r-adazo.",
        revision=2,
    )

    def make_update(self) -> AmsGrad:
        return AmsGrad(self.config.beta1, self.config.beta2, self.config.delta)
