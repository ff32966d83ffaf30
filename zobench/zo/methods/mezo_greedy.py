"""MeZO-Greedy: MeZO along the best of several candidate directions (arXiv 2601.04710).

z* = the candidate with the smallest L(theta + eps z_i), z_i ~ N(0, I), i = 1 .. M
theta <- theta - eta [(L(theta + eps z*) - L(theta - eps z*)) / (2 eps)] z*

All losses are on one minibatch, so the winner's L(theta + eps z*) is known from the selection. M + 1 forward
passes per step; M + 2 with ``requery``, as counted in the paper. With one candidate it is MeZO.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class MezoGreedyConfig(Parameters):
    """Parameters of MeZO-Greedy; lr and epsilon of the paper's OPT runs, two candidates as in its comparison
    at four forward passes (a reading: M itself is not known).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        candidates: number of candidate directions M.
        requery: query the winner's L(theta + eps z*) a second time.
    """

    lr: Rate = 2e-7
    epsilon: Positive = 1e-3
    candidates: Count = 2
    requery: bool = False


class MezoGreedy(ZerothOrder):
    """Two-sided SPSA along the best of several candidates."""

    Config = MezoGreedyConfig
    card = MethodCard(
        name="mezo-greedy",
        title="MeZO-Greedy",
        source="arXiv 2601.04710",
        formula="z* = argmin_i L(theta + eps z_i); theta <- theta - eta [(L+ - L-) / (2 eps)] z*",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="By the paper's text; the authors' repository does not contain this variant. Among equal "
        "losses the first candidate is taken. The selection makes the estimate biased. The plotted "
        "loss is the mean of the winner's pair. The paper claims better and faster training than "
        "n-SPSA at four and six forward passes; on our boards (docs/recent-claims.md, against mezo n=2): "
        "accuracy undecided, +12.8 points [-30.6, +56.3]; forward passes undecided, 0.73 times its forward "
        "passes [0.48, 1.10].",
    )

    @classmethod
    def cost(cls, config: MezoGreedyConfig) -> Cost:
        forwards = config.candidates + (2 if config.requery else 1)
        return Cost(forwards, forwards, forwards + 1, 0)

    def measure(self, objective: Objective) -> Estimate:
        seeds, eps = self.seeds(self.config.candidates), self.smoothing()
        plus = self.engine.losses(objective, [self.engine.along(self.direction, s, eps) for s in seeds])
        best = min(range(len(seeds)), key=plus.__getitem__)
        signs = (1.0, -1.0) if self.config.requery else (-1.0,)
        more = self.engine.losses(
            objective, [self.engine.along(self.direction, seeds[best], sign * eps) for sign in signs]
        )
        pair = (more[0] if self.config.requery else plus[best], more[-1])
        return Estimate(
            seeds=(seeds[best],),
            coefficients=((pair[0] - pair[1]) / (2 * eps),),
            losses=(*plus, *more),
            loss=math.fsum(pair) / 2 if all(map(math.isfinite, pair)) else math.nan,
            extras={"winner": float(best)},
        )
