"""LOZO: two-sided SPSA along U V^T, whose right factor is redrawn every nu steps (arXiv 2410.07698).

W in R^(m x n): u = U V^T, U (m x r) ~ N(0, 1) per step, V (n x r) ~ N(0, 1) every nu steps
vectors: u = z ~ N(0, I)
c = (L(theta + eps u) - L(theta - eps u)) / (2 eps)
code: W <- W - eta c U V^T      paper: W <- W - (eta / r) c U V^T      vectors: theta <- theta - eta c z

The entries of U V^T have variance r, and E[<G, u> u] = r G, so that the code's step is r times the paper's:
lr 1e-7 at r = 2 corresponds to 2e-7 in the paper (the authors, in their issue 1). 2 forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.lowrank import LazyRight
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class LozoConfig(Parameters):
    """Parameters of LOZO; defaults of the authors' OPT runs.

    Attributes:
        lr: step size eta, in the convention of ``scale``.
        epsilon: smoothing radius eps.
        rank: r, clipped to the smaller side of each matrix.
        interval: steps nu for which V is kept fixed.
        scale: ``code`` (no 1/r) or ``paper`` (1/r on matrices).
    """

    lr: Rate = 1e-7
    epsilon: Positive = 1e-3
    rank: Count = 2
    interval: Count = 100
    scale: Literal["code", "paper"] = "code"


class Lozo(ZerothOrder):
    """Low-rank SPSA. In every step, both probes and the update use the same basis."""

    Config = LozoConfig
    card = MethodCard(
        name="lozo",
        title="LOZO",
        source="arXiv 2410.07698",
        formula="W <- W - eta [(L(W+eps U V^T) - L(W-eps U V^T)) / (2 eps)] U V^T; V redrawn every nu steps",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="In the authors' code, the probes of a refresh step draw V before U but the update does not, "
        "so that the update uses a U that was not measured (their open issue 3). Here U and V have separate "
        "seeds. Not unbiased: E[estimate] = r grad ('code'), on average over V. With scale 'paper', vectors "
        "and matrices have different weights, so that a step leaves the measured span if both are tuned.",
    )

    @classmethod
    def cost(cls, config: LozoConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def make_direction(self) -> LazyRight:
        c = self.config
        return LazyRight(self.engine.source, seed=self.seed, rank=c.rank, interval=c.interval)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        if self.config.scale == "code":
            return super().update(estimate, lr)
        c = self.config
        scaled = LazyRight(
            self.engine.source, seed=self.seed, rank=c.rank, interval=c.interval, reciprocal=True
        )
        scaled.refresh(self.t)
        self.engine.home()
        self.updater.apply(self.engine, scaled, estimate, lr)
        return {}
