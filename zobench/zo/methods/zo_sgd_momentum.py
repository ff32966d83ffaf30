"""ZO-SGD-MMT: heavy-ball momentum on the two-sided SPSA estimate (arXiv 2402.11592).

m <- beta m + (1 - dampening) g_hat (first step m = g_hat, as in torch.optim.SGD),  theta <- theta - eta m

2n forward passes per step; one float32 buffer per tuned entry, rebuilt by replay.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Momentum


@dataclass(frozen=True)
class ZoSgdMomentumConfig(Parameters):
    """Parameters of ZO-SGD with momentum; momentum as in ZO-Bench.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        momentum: beta.
        dampening: share by which a new estimate is reduced.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    momentum: FractionBelowOne = 0.9
    dampening: FractionBelowOne = 0.0


class ZoSgdMomentum(ZerothOrder):
    """SPSA with heavy-ball momentum."""

    Config = ZoSgdMomentumConfig
    card = MethodCard(
        name="zo-sgd-momentum",
        title="ZO-SGD-MMT",
        source="arXiv 2402.11592",
        formula="m <- beta m + g_hat; theta <- theta - eta m",
        order="zeroth",
        replay="scalars",
        unbiased=True,
        notes="Effective step size eta / (1 - beta), as in torch.optim.SGD.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: ZoSgdMomentumConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 4)

    def make_update(self) -> Momentum:
        return Momentum(self.config.momentum, self.config.dampening)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
