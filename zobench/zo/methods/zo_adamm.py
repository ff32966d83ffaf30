"""ZO-AdaMM: AMSGrad on a one-sided estimate (arXiv 1910.06513).

g = (1/n) sum_i [(L(theta + eps u_i) - L(theta)) / eps] u_i
m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2,  w <- max(w, v)
theta <- theta - eta m / (sqrt(w) + delta)     (``divide_by``: or m / (sqrt(v) + delta))

n + 1 forward passes per step; three float32 numbers of state per tuned entry, rebuilt by replay. There is no
bias correction. Without constraints the paper's projection is the identity.
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
class ZoAdammConfig(Parameters):
    """Parameters of ZO-AdaMM; decays as AMSGrad's, lr and n are choices. The authors attack images: 10
    directions, mu 1e-3 and 5e-3, beta1 0.9, beta2 0.3, a learning rate falling as 1/sqrt(t).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps; with the paper's unit-sphere directions, mu = eps sqrt(d).
        n: directions per step.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        divide_by: second moment under the root: ``largest`` (w, the paper's) or ``latest`` (v, the authors'
            code).
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-3
    n: Count = 1
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    delta: Positive = 1e-8
    divide_by: Literal["largest", "latest"] = "largest"


class AmsGrad(Update):
    """m, v and the running maximum w of v; theta <- theta - eta m / (sqrt(w) + delta), or with v under the
    root if ``latest``."""

    slots = ("first", "second", "largest")

    def __init__(self, beta1: float, beta2: float, delta: float, *, latest: bool = False) -> None:
        super().__init__()
        self.beta1, self.beta2, self.delta, self.latest = beta1, beta2, delta, latest

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m, v, w = (self.slot(slot, name, gradient) for slot in self.slots)
        m.mul_(self.beta1).add_(gradient * (1.0 - self.beta1))
        v.mul_(self.beta2).add_(gradient.square().mul_(1.0 - self.beta2))
        torch.maximum(w, v, out=w)
        return m / (v if self.latest else w).sqrt().add_(self.delta)


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
        notes="By the paper and the authors' code (KaidiXu/ZO-AdaMM@d7bf283, universal.py, read "
        "2026-11-29). The code divides by the root of v and uses the maximum w in the projection only "
        "(divide_by: latest); it starts v and w at 1e-7, here they start at 0 and delta guards "
        "entries that were never touched. Unconstrained case of a method for constrained black boxes. "
        "Directions of the unit sphere are replaced by N(0, I), as in r-adazo.",
        revision=2,
    )

    def make_update(self) -> AmsGrad:
        c = self.config
        return AmsGrad(c.beta1, c.beta2, c.delta, latest=c.divide_by == "latest")
