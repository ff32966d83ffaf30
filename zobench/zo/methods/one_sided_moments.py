"""Common base of R-AdaZO and ZO-AdaMM: n one-sided losses, float32 moments rebuilt by replay.

g = (1/n) sum_i [(L(theta + eps u_i) - L(theta)) / eps] u_i,  u_i ~ N(0, I)

n + 1 forward passes per step; each moment costs 4 bytes per tuned entry. Both papers draw u from the unit
sphere with a factor d and radius mu = eps sqrt(d). The estimate is the same up to the fluctuation of the
length of a Gaussian vector; Gaussian directions save the sweep for the norm.
"""

from __future__ import annotations

from typing import Any

from zobench.zo.base import Cost
from zobench.zo.estimators import Estimate, one_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective


class OneSidedMoments(ZerothOrder):
    """A one-sided estimate for an update with ``slots`` moments."""

    slots = 0

    @classmethod
    def cost(cls, config: Any) -> Cost:
        return Cost(config.n + 1, config.n + 1, 2 * config.n, 4 * cls.slots)

    def measure(self, objective: Objective) -> Estimate:
        return one_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
