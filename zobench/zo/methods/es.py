"""Evolution strategies at the scale of language models (arXiv 2509.24372).

L_i = L(theta + sigma u_i), u_i ~ N(0, I), i = 1..N;  f_i = -(L_i - mean) / std (z-scored fitness)
theta <- theta + (eta / N) sum_i f_i u_i

The factor 1 / sigma of the gradient of the smoothed loss is part of eta, and z-scoring makes the step
independent of the scale of the losses. The loss at theta is not measured. N forward passes per step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.fzoo import spread
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Parameters, Positive, Rate


@dataclass(frozen=True)
class EsConfig(Parameters):
    """Parameters of ES; the paper uses one setting for all models.

    Attributes:
        lr: step size eta (the paper's alpha, sigma / 2).
        sigma: standard deviation of the noise.
        population: members N, at least 2.
    """

    lr: Rate = 5e-4
    sigma: Positive = 1e-3
    population: Annotated[int, Bounds(ge=2)] = 30


def z_scored(seeds: Sequence[int], losses: Sequence[float]) -> Estimate:
    """The estimate with coefficients (L_i - mean) / (N std), std with divisor N; refused if std is 0."""
    std = spread(list(losses), population=True)
    mean = math.fsum(losses) / len(losses) if math.isfinite(std) else math.nan
    scale = len(losses) * std
    return Estimate(
        seeds=tuple(seeds),
        coefficients=tuple((loss - mean) / scale if scale else 0.0 for loss in losses),
        losses=tuple(losses),
        loss=mean,
        extras={"std": std},
        reason="zero spread of the losses" if std == 0.0 else "",
    )


class Es(ZerothOrder):
    """Full-parameter evolution strategies with z-scored fitness."""

    Config = EsConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"population": 8}
    card = MethodCard(
        name="es",
        title="ES at scale",
        source="arXiv 2509.24372",
        formula="theta <- theta - (eta / N) sum_i zscore(L(theta + sigma u_i)) u_i",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="The paper maximizes rewards; here the reward is minus the loss of the minibatch. Its code "
        "was not read (non-commercial licence); alpha = sigma / 2, population 30 and z-scores with "
        "1e-8 added to the spread are known from notes on it (2026-11-29). The spread is the "
        "population's (divisor N). The 1e-8 is left out, which changes a step by a share of 1e-8 / "
        "spread; with no spread there is no step. The paper claims results ahead of PPO and GRPO; in "
        "suites/rewards.yaml neither this method nor the GRPO-like row gains (docs/rewards.md).",
    )

    @classmethod
    def cost(cls, config: EsConfig) -> Cost:
        return Cost(config.population, config.population, 2 * config.population, 0)

    def measure(self, objective: Objective) -> Estimate:
        seeds, sigma = self.seeds(self.config.population), self.config.sigma
        points = [self.engine.along(self.direction, seed, sigma) for seed in seeds]
        return z_scored(seeds, self.engine.losses(objective, points))
