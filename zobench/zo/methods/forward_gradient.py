"""Forward gradient: exact directional derivatives by Jacobian-vector products (arXiv 2202.08587, 2402.11592).

theta <- theta - (eta / n) sum_i <grad L(theta), z_i> z_i,  z_i ~ N(0, I)

There is no smoothing radius and no perturbation. One Jacobian-vector product counts as 2 forward passes: 2n
forward passes per step. This baseline separates the effect of finite differences from that of random
directions.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, forward_mode
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Rate


@dataclass(frozen=True)
class ForwardGradientConfig(Parameters):
    """Parameters of the forward gradient; ZO-Bench's best full-parameter learning rate.

    Attributes:
        lr: step size eta.
        n: directions per step.
    """

    lr: Rate = 5e-7
    n: Count = 1


class ForwardGradient(ZerothOrder):
    """SGD on forward gradients."""

    Config = ForwardGradientConfig
    card = MethodCard(
        name="forward-gradient",
        title="Forward-Grad",
        source="arXiv 2202.08587, 2402.11592",
        formula="theta <- theta - eta * mean_i <grad L, z_i> z_i",
        order="forward-mode",
        replay="scalars",
        unbiased=True,
        needs=("forward-derivatives",),
        notes="Needs a loss with forward derivatives (eager attention). extras contain the derivatives for "
        "replay.",
    )

    @classmethod
    def cost(cls, config: ForwardGradientConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 2 * config.n, 0)

    def measure(self, objective: Objective) -> Estimate:
        return forward_mode(self.engine, objective, self.direction, self.seeds(self.config.n))
