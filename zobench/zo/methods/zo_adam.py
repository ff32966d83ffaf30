"""ZO-Adam: Adam on the two-sided SPSA estimate (MeZO-Adam in arXiv 2305.17333, ZO-Adam in arXiv 2402.11592).

g_hat = (1/n) sum_i c_i z_i,  c_i = (L(theta + eps z_i) - L(theta - eps z_i)) / (2 eps)
m <- beta1 m + (1-beta1) g_hat,  v <- beta2 v + (1-beta2) g_hat^2
theta <- theta - eta (m / (1-beta1^t)) / (sqrt(v / (1-beta2^t)) + delta)

2n forward passes per step; two float32 moments per tuned entry, rebuilt by replay.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Adam, Decay, DecayRule


@dataclass(frozen=True)
class ZoAdamConfig(Parameters):
    """Parameters of ZO-Adam; lr from the middle of MeZO-Adam's published grid, moments as in torch.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        weight_decay: decoupled decay rate.
        decay_rule: tensors that decay: ``mezo``, ``mezo-roberta``, ``all``, ``matrices``.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-3
    n: Count = 1
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    delta: Positive = 1e-8
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "mezo"


class ZoAdam(ZerothOrder):
    """Adam on the SPSA estimate; moments are rebuilt by replay."""

    Config = ZoAdamConfig
    card = MethodCard(
        name="zo-adam",
        title="ZO-Adam",
        source="arXiv 2402.11592, 2305.17333",
        formula="theta <- theta - eta * m_hat / (sqrt(v_hat) + delta), moments of the SPSA estimate",
        order="zeroth",
        replay="scalars",
        unbiased=True,
        notes="The gradient estimate is unbiased, the update (Adam's) is not. ZO-Bench calls torch's Adam "
        "once per tensor, with torch's betas and delta.",
        decay="Decoupled (AdamW), theta <- (1 - eta wd) theta - eta m_hat / (sqrt(v_hat) + delta). MeZO- "
        "Adam runs AdamW and spares names with bias or LayerNorm.weight (rule mezo-roberta; the "
        "default rule mezo spares layer_norm and layernorm instead of the latter). Its published rate "
        "is 0. ZO-Bench's Adam has no decay.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: ZoAdamConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 8)

    def make_update(self) -> Adam:
        c = self.config
        return Adam(c.beta1, c.beta2, c.delta, Decay(c.weight_decay, c.decay_rule))

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
