"""One-sided SPSA with SGD, as in ZO-Bench (arXiv 2402.11592).

c_i = (L(theta + eps z_i) - L(theta)) / (n eps),  theta <- theta - eta sum_i c_i z_i

n + 1 forwards a step: the loss at theta is shared by all n directions. Bias O(eps) where the two-sided form
has O(eps^2).
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, one_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.methods import checks
from zobench.zo.objective import Objective
from zobench.zo.updates import Decay, Sgd


@dataclass(frozen=True)
class MezoOneSidedConfig:
    """Parameters of one-sided ZO-SGD; defaults as MeZO's.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        weight_decay: coupled decay rate.
        decay_rule: tensors that decay: ``mezo``, ``all``, ``matrices``.
    """

    lr: float = 1e-6
    epsilon: float = 1e-3
    n: int = 1
    weight_decay: float = 0.0
    decay_rule: str = "mezo"

    def __post_init__(self) -> None:
        checks.rate("lr", self.lr)
        checks.positive("epsilon", self.epsilon)
        checks.count("n", self.n)
        Decay(self.weight_decay, self.decay_rule)


class MezoOneSided(ZerothOrder):
    """One-sided SPSA with plain SGD; plots L(theta) exactly."""

    Config = MezoOneSidedConfig
    card = MethodCard(
        name="mezo-one-sided",
        title="ZO-SGD, one-sided",
        source="arXiv 2402.11592",
        formula="theta <- theta - eta * mean_i [(L(theta+eps z_i) - L(theta)) / eps] z_i",
        order="zeroth",
        replay="scalars",
        in_span=True,
        unbiased=False,
        notes="Biased by O(eps): E[c z] = grad L + (eps/2) E[(z' H z) z] + ..., zero for quadratics.",
    )

    @classmethod
    def cost(cls, config: MezoOneSidedConfig) -> Cost:
        return Cost(config.n + 1, config.n + 1, 2 * config.n, 0)

    def make_update(self) -> Sgd:
        return Sgd(Decay(self.config.weight_decay, self.config.decay_rule))

    def measure(self, objective: Objective) -> Estimate:
        return one_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
