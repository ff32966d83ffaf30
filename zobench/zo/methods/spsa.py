"""SPSA with Spall's gain sequences (Spall 1992; gains: Spall 1998).

a_k = a / (k + 1 + A)^alpha,  c_k = c / (k + 1)^gamma,  k = 0, 1, ...
g_hat = (1/n) sum_i [(L(theta + c_k u_i) - L(theta - c_k u_i)) / (2 c_k)] u_i,  u_i in {-1, 1}^d
theta <- theta - a_k g_hat

alpha = 0.602 and gamma = 0.101 are the smallest exponents for which Spall's convergence theory holds.
2n forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class SpsaConfig(Parameters):
    """Parameters of SPSA; exponents are Spall's, a and c have the magnitude of MeZO's.

    Attributes:
        lr: numerator a of the step size; the first step uses a / (1 + A)^alpha.
        epsilon: numerator c of the smoothing radius.
        n: directions per step.
        stability: A; Spall recommends a tenth of the planned number of steps.
        alpha: decay exponent of the step size.
        gamma: decay exponent of the smoothing radius.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-2
    n: Count = 1
    stability: Rate = 100.0
    alpha: Rate = 0.602
    gamma: Rate = 0.101


class Spsa(ZerothOrder):
    """Classic SPSA with Rademacher directions and decaying gains."""

    Config = SpsaConfig
    card = MethodCard(
        name="spsa",
        title="SPSA with Spall's gains",
        source="Spall 1992, IEEE TAC 37(3); gains: Spall 1998, IEEE TAES 34(3)",
        formula="theta <- theta - a/(k+1+A)^0.602 * mean_i [(L+ - L-) / (2 c_k)] u_i, c_k = c/(k+1)^0.101",
        order="zeroth",
        replay="scalars",
        in_span=True,
        unbiased=True,
        notes="The original divides by u_i, which equals multiplication for entries +-1. record.lr is a_k.",
    )

    @classmethod
    def cost(cls, config: SpsaConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_direction(self) -> Direction:
        return self.engine.rademacher()

    def learning_rate(self) -> float:
        return self.config.lr / (self.t + 1 + self.config.stability) ** self.config.alpha

    def smoothing(self) -> float:
        return self.config.epsilon / (self.t + 1) ** self.config.gamma

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
