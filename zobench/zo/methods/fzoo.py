"""FZOO: one-sided Rademacher estimate, divided by the standard deviation of the losses (arXiv 2506.09034).

l_0 = L(theta), l_i = L(theta + eps u_i), u_i in {-1, 1}^d, i = 1..N
paper: theta <- theta - eta / (eps N sigma) sum_i (l_i - l_0) u_i,  sigma^2 = sum_i (l_i - mean)^2 / (N - 1)
code:  theta <- theta - eta / (N sigma) sum_i (l_i - l_0) u_i,      sigma^2 = sum_i (l_i - mean)^2 / N

The authors' code omits 1/eps and uses the population standard deviation: eta_code = eta_paper / eps up to the
factor sqrt((N-1)/N). A step with sigma = 0 (equal losses) is refused; their code divides by sigma. N + 1
forward passes per step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Parameters, Positive, Rate


@dataclass(frozen=True)
class FzooConfig(Parameters):
    """Parameters of FZOO; defaults of the authors' script, whose convention lr follows.

    Attributes:
        lr: step size eta, in the convention of ``step_size``.
        epsilon: smoothing radius eps.
        n: directions per step (N), at least 2.
        step_size: ``code`` (no 1/eps, population standard deviation) or ``paper``.
    """

    lr: Rate = 1e-5
    epsilon: Positive = 1e-3
    n: Annotated[int, Bounds(ge=2)] = 8
    step_size: Literal["paper", "code"] = "code"


def spread(losses: list[float], *, population: bool) -> float:
    """Standard deviation with divisor N (population) or N - 1; NaN if a loss is not finite."""
    if not all(map(math.isfinite, losses)):
        return math.nan
    mean = math.fsum(losses) / len(losses)
    squares = math.fsum((loss - mean) ** 2 for loss in losses)
    return math.sqrt(squares / (len(losses) - (0 if population else 1)))


class Fzoo(ZerothOrder):
    """Batched one-sided estimate, divided by the standard deviation of the losses."""

    Config = FzooConfig
    card = MethodCard(
        name="fzoo",
        title="FZOO",
        source="arXiv 2506.09034",
        formula="theta <- theta - eta / (N sigma [eps]) * sum_i (L(theta+eps u_i) - L(theta)) u_i",
        order="zeroth",
        replay="scalars",
        in_span=True,
        unbiased=False,
        notes="step_size 'paper' divides by eps and uses the sample standard deviation; 'code' does "
        "neither. The authors' code measures L(theta) last; here it is first. Their code restores weights "
        "by subtraction and does not check for sigma = 0.",
    )

    @classmethod
    def cost(cls, config: FzooConfig) -> Cost:
        return Cost(config.n + 1, config.n + 1, 2 * config.n, 0)

    def make_direction(self) -> Direction:
        return self.engine.rademacher()

    def measure(self, objective: Objective) -> Estimate:
        seeds, eps = self.seeds(self.config.n), self.smoothing()
        points = [(), *(self.engine.along(self.direction, seed, eps) for seed in seeds)]
        base, *losses = self.engine.losses(objective, points)
        paper = self.config.step_size == "paper"
        sigma = spread(losses, population=not paper)
        scale = len(seeds) * sigma * (eps if paper else 1.0)
        return Estimate(
            seeds=seeds,
            coefficients=tuple((loss - base) / scale if scale else 0.0 for loss in losses),
            losses=(base, *losses),
            loss=base,
            extras={"sigma": sigma},
            reason="zero spread of the losses" if sigma == 0.0 else "",
        )
