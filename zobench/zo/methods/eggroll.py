"""EGGROLL: evolution strategies with low-rank members (arXiv 2511.16652).

W in R^(m x n): u_i = A_i B_i^T / sqrt(r), A_i (m x r), B_i (n x r) ~ N(0, 1); vectors: u_i ~ N(0, I)
L_i = L(theta + sigma u_i), i = 1..N;  W <- W - (eta / N) sum_i w_i u_i,  w = z-scored losses

A single member has rank r, the sum over the population has rank min(N r, m, n). E[u u^T] = I as for full
noise. N forwards a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate
from zobench.zo.lowrank import Paired
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.es import z_scored
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class EggrollConfig(Parameters):
    """Parameters of EGGROLL; eta and sigma were not found and follow ``es``.

    Attributes:
        lr: step size eta.
        sigma: scale of the noise.
        population: members N, at least 2; even with ``mirrored``.
        rank: r, clipped to the smaller side of each matrix.
        mirrored: members come in pairs +u, -u.
    """

    lr: Rate = 5e-4
    sigma: Positive = 1e-3
    population: Annotated[int, Bounds(ge=2)] = 32
    rank: Count = 1
    mirrored: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mirrored and self.population % 2:
            raise ValueError(f"population must be even with mirrored members, not {self.population}")


class Eggroll(ZerothOrder):
    """Evolution strategies along A B^T / sqrt(r)."""

    Config = EggrollConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"population": 8}
    card = MethodCard(
        name="eggroll",
        title="EGGROLL",
        source="arXiv 2511.16652",
        formula="W <- W - (eta / N) sum_i zscore(L(theta + sigma A_i B_i^T / sqrt(r))) A_i B_i^T / sqrt(r)",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="Known from abstract and secondary notes: the shaping of fitness (here z-scores), population, "
        "eta and sigma are our choices. Mode 'factored' never forms A B^T in linear layers, one member after "
        "the other; the paper's throughput comes from running the members as one batch besides (mode "
        "'batched' does, with formed weights).",
    )

    @classmethod
    def cost(cls, config: EggrollConfig) -> Cost:
        return Cost(config.population, config.population, 2 * config.population, 0)

    def make_direction(self) -> Paired:
        return Paired(self.engine.source, seed=self.seed, rank=self.config.rank)

    def measure(self, objective: Objective) -> Estimate:
        c = self.config
        signs = (1.0, -1.0) if c.mirrored else (1.0,)
        seeds = self.seeds(c.population // len(signs))
        points = [self.engine.along(self.direction, s, sign * c.sigma) for s in seeds for sign in signs]
        members = [seed for seed in seeds for _ in signs]
        estimate = z_scored(members, self.engine.losses(objective, points))
        if not c.mirrored:
            return estimate
        plus, minus = estimate.coefficients[::2], estimate.coefficients[1::2]
        folded = tuple(a - b for a, b in zip(plus, minus, strict=True))
        return Estimate(
            seeds, folded, estimate.losses, estimate.loss, extras=estimate.extras, reason=estimate.reason
        )
