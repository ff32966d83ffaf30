"""SubZero: two-sided SPSA with directions between two orthonormal bases (arXiv 2410.08989).

W in R^(m x n): u = sqrt(mn / r^2) U Z V^T, U (m x r) and V (n x r) orthonormal, redrawn every F steps,
Z (r x r) ~ N(0, 1) per step; vectors: u ~ N(0, I)
c = (L(theta + eps u) - L(theta - eps u)) / (2 eps),  W <- W - eta c u

With this factor, E ||u||^2 = mn as for MeZO's direction, so that MeZO's eps and eta can be used. On average
over bases the estimate is unbiased. 2 forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.lowrank import Sandwiched
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class SubzeroConfig(Parameters):
    """Parameters of SubZero; rank and interval of the authors' README, eta and eps MeZO's.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: r, clipped to the smaller side of each matrix.
        interval: steps F for which U and V are kept fixed.
        near_square: reshape each matrix as close to a square as possible before it is factored (the authors
            do so for adapters and prompts).
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    rank: Count = 24
    interval: Count = 1000
    near_square: bool = False


class Subzero(ZerothOrder):
    """SPSA in random two-sided subspaces."""

    Config = SubzeroConfig
    card = MethodCard(
        name="subzero",
        title="SubZero",
        source="arXiv 2410.08989",
        formula="W <- W - eta c sqrt(mn/r^2) U Z V^T, c measured along the same direction",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="The code's own defaults are r = 8, F = 2000; its README uses r = 24, F = 1000. Unbiased on "
        "average over bases only: for fixed U and V, E[estimate] = (mn / r^2) U U^T G V V^T.",
    )

    @classmethod
    def cost(cls, config: SubzeroConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def make_direction(self) -> Sandwiched:
        c = self.config
        return Sandwiched(
            self.engine.source,
            seed=self.seed,
            rank=c.rank,
            interval=c.interval,
            near_square=c.near_square,
        )

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
