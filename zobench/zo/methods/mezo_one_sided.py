"""One-sided SPSA with SGD, as in ZO-Bench (arXiv 2402.11592).

c_i = (L(theta + eps z_i) - L(theta)) / (n eps),  theta <- theta - eta sum_i c_i z_i

n + 1 forward passes per step, because all n directions share the loss at theta. The bias is O(eps); that of
the two-sided form is O(eps^2).
"""

from __future__ import annotations

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, one_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.mezo import MezoConfig
from zobench.zo.objective import Objective
from zobench.zo.updates import Decay, Sgd


class MezoOneSided(ZerothOrder):
    """One-sided SPSA with plain SGD; the plotted loss is L(theta)."""

    Config = MezoConfig
    card = MethodCard(
        name="mezo-one-sided",
        title="ZO-SGD, one-sided",
        source="arXiv 2402.11592",
        formula="theta <- theta - eta * mean_i [(L(theta+eps z_i) - L(theta)) / eps] z_i",
        order="zeroth",
        summable=True,
        replay="scalars",
        in_span=True,
        unbiased=False,
        notes="Biased by O(eps): E[c z] = grad L + (eps/2) E[(z' H z) z] + ..., zero for quadratics.",
        decay="MeZO's, with its rules. ZO-Bench steps torch SGD without weight decay: 0 is its value.",
    )

    @classmethod
    def cost(cls, config: MezoConfig) -> Cost:
        return Cost(config.n + 1, config.n + 1, 2 * config.n, 0)

    def make_update(self) -> Sgd:
        return Sgd(Decay(self.config.weight_decay, self.config.decay_rule))

    def measure(self, objective: Objective) -> Estimate:
        return one_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
