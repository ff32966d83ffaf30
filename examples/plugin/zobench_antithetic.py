"""An example plugin: of n two-sided pairs, step along the one with the largest slope only.

g = (L(theta + eps z_i) - L(theta - eps z_i)) / (2 eps) with i = argmax |g_i|;  theta <- theta - eta g z_i

Install it (``pip install ./examples/plugin``) and hold it to the rules: ``zobench check best-of-pairs``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zobench.zo import Cost, MethodCard, Objective, ZerothOrder
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.parameters import Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class BestOfPairsConfig(Parameters):
    """Parameters of best-of-pairs; all values are choices.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: pairs tried per step.
    """

    lr: Rate = 1e-3
    epsilon: Positive = 1e-3
    n: Count = 2


class BestOfPairs(ZerothOrder):
    """The steepest of n pairs."""

    Config = BestOfPairsConfig
    card = MethodCard(
        name="best-of-pairs",
        title="best of pairs",
        source="zobench example",
        formula="theta <- theta - eta * g_i z_i, i = argmax |g_i|",
        order="zeroth",
        replay="scalars",
        in_span=True,
    )

    @classmethod
    def cost(cls, config: BestOfPairsConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 2 * config.n + 1, 0)

    def measure(self, objective: Objective) -> Estimate:
        n = self.config.n
        pairs = two_sided(self.engine, objective, self.direction, self.seeds(n), self.smoothing())
        steepest = max(range(n), key=lambda i: abs(pairs.coefficients[i]))
        kept = tuple(c * n if i == steepest else 0.0 for i, c in enumerate(pairs.coefficients))
        return replace(pairs, coefficients=kept)
