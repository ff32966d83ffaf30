"""ZO-SGD-Sign in both interpretations (arXiv 2402.11592).

reading ``scalar`` (as in ZO-Bench's code): theta <- theta - eta sum_i sign(c_i) z_i / n; the step is a
Gaussian vector. reading ``estimate`` (signSGD on the estimate):  theta <- theta - eta sign(sum_i c_i z_i),
entry by entry. c_i = (L(theta + eps z_i) - L(theta - eps z_i)) / (2 eps n). 2n forward passes per step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.updates import Sgd, Sign, Update


@dataclass(frozen=True)
class ZoSgdSignConfig(Parameters):
    """Parameters of ZO-SGD-Sign; learning rate from the middle of ZO-Bench's grid.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        reading: ``scalar`` (sign of each projected gradient) or ``estimate`` (sign of each entry).
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    reading: Literal["scalar", "estimate"] = "scalar"


class ZoSgdSign(ZerothOrder):
    """Sign steps on SPSA."""

    Config = ZoSgdSignConfig
    card = MethodCard(
        name="zo-sgd-sign",
        title="ZO-SGD-Sign",
        source="arXiv 2402.11592",
        formula="theta <- theta - eta * sign(c) z   or   theta <- theta - eta * sign(c z)",
        order="zeroth",
        replay="scalars",
        notes="ZO-Bench's sweeps of this method use AdamW, the Trainer's default; here it is SGD.",
    )

    @classmethod
    def cost(cls, config: ZoSgdSignConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_update(self) -> Update:
        return Sgd() if self.config.reading == "scalar" else Sign()

    def measure(self, objective: Objective) -> Estimate:
        seeds = self.seeds(self.config.n)
        estimate = two_sided(self.engine, objective, self.direction, seeds, self.smoothing())
        if self.config.reading == "estimate" or estimate.refusal():
            return estimate
        signs = tuple(math.copysign(1.0, c) / len(seeds) if c else 0.0 for c in estimate.coefficients)
        slopes = {f"slope_{i}": c for i, c in enumerate(estimate.coefficients)}
        return replace(estimate, coefficients=signs, extras=slopes)
