"""MEAZO: SPSA with a step size adapted by one running second moment of the projected gradient (arXiv
2605.03869).

c_i = (L(theta + eps u_i) - L(theta - eps u_i)) / (2 eps),  g = (1/n) sum_i c_i
v <- beta v + (1 - beta) g^2,  v_hat = v / (1 - beta^t)
theta <- theta - eta / (sqrt(v_hat) + zeta) (1/n) sum_i c_i u_i

2n forward passes per step; the state is one number and a counter. The step does not depend on the scale of
the loss: for n = 1 the first step is eta sign(g) u.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate


@dataclass(frozen=True)
class MeazoConfig(Parameters):
    """Parameters of MEAZO; eta is of the size of ZO-Adam's, n the paper's. Its other values are not known.

    Attributes:
        lr: step size eta of the normalized step.
        epsilon: smoothing radius eps.
        n: directions per step (q).
        beta: decay of the second moment.
        zeta: added to the root of the second moment.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-3
    n: Count = 1
    beta: FractionBelowOne = 0.99
    zeta: Positive = 1e-8


class Meazo(ZerothOrder):
    """SPSA with a scalar adaptive step size."""

    Config = MeazoConfig
    card = MethodCard(
        name="meazo",
        title="MEAZO",
        source="arXiv 2605.03869",
        formula="v <- ema((mean_i c_i)^2); theta <- theta - eta / (sqrt(v_hat) + zeta) * mean_i c_i u_i",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="By a formula note on the paper (2026-11-29), which divides by 1 - beta^(t-1); that is 0 at "
        "t = 1, so it is read as 1 - beta^t with the first step t = 1. A tie counts in v; refused steps "
        "leave v unchanged.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.second, self.count = 0.0, 0

    @classmethod
    def cost(cls, config: MeazoConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def measure(self, objective: Objective) -> Estimate:
        c = self.config
        plain = two_sided(self.engine, objective, self.direction, self.seeds(c.n), self.smoothing())
        if plain.refusal():
            return plain
        slope = math.fsum(plain.coefficients)
        second = c.beta * self.second + (1.0 - c.beta) * slope**2
        scale = math.sqrt(second / (1.0 - c.beta ** (self.count + 1))) + c.zeta
        return replace(
            plain,
            coefficients=tuple(value / scale for value in plain.coefficients),
            extras={"slope": slope, "second_moment": second},
        )

    def after(self, estimate: Estimate, moved: bool) -> None:
        if moved:
            self.second, self.count = estimate.extras["second_moment"], self.count + 1

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "second": self.second, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.second, self.count = float(state["second"]), int(state["count"])
