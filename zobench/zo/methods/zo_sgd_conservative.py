"""ZO-SGD-Cons: try the step both ways and keep the best of three points (arXiv 2402.11592).

c = (L(theta + eps z) - L(theta - eps z)) / (2 eps)
theta <- argmin of L over { theta, theta - eta c z, theta + eta c z }

5 forward passes per step: theta, the pair, the two trials. The accepted point is exactly the one whose loss
was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Parameters, Positive, Rate


@dataclass(frozen=True)
class ZoSgdConservativeConfig(Parameters):
    """Parameters of ZO-SGD-Cons; from ZO-Bench's grid.

    Attributes:
        lr: step size eta of both trials.
        epsilon: smoothing radius eps.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3


class ZoSgdConservative(ZerothOrder):
    """Two-sided SPSA whose step is taken forward, backward or not at all, by measured loss."""

    Config = ZoSgdConservativeConfig
    card = MethodCard(
        name="zo-sgd-conservative",
        title="ZO-SGD-Cons",
        source="arXiv 2402.11592",
        formula="theta <- argmin L over {theta, theta - eta c z, theta + eta c z}",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="ZO-Bench computes the second trial by an AdamW step on -2 g, which does not end at theta + "
        "eta g; here all three points are exact. extras: slope c, choice 1 (theta - eta c z), 0 (theta), -1 "
        "(theta + eta c z).",
    )

    @classmethod
    def cost(cls, config: ZoSgdConservativeConfig) -> Cost:
        return Cost(5, 5, 5, 0)

    def measure(self, objective: Objective) -> Estimate:
        (seed,) = seeds = self.seeds(1)
        base = self.engine.loss(objective)
        pair = two_sided(self.engine, objective, self.direction, seeds, self.smoothing())
        slope = pair.coefficients[0]
        reach = self.learning_rate() * slope
        trials = [self.engine.along(self.direction, seed, sign * reach) for sign in (-1.0, 1.0)]
        down, up = self.engine.losses(objective, trials)
        choice = 1.0 if down < base and down <= up else -1.0 if up < base else 0.0
        return replace(
            pair,
            coefficients=(choice * slope,),
            losses=(base, *pair.losses, down, up),
            loss=base,
            extras={"slope": slope, "choice": choice},
            reason="" if choice else "no trial is below the current loss",
        )
