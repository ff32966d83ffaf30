"""LOZO-M: LOZO with momentum of the left factor (arXiv 2410.07698).

c = (L(theta + eps U V^T) - L(theta - eps U V^T)) / (2 eps), as in LOZO
N <- beta N + (1 - beta) c U (first step N = c U);  W <- W - eta N V^T
when V is redrawn, before the step: N <- N V_old^T V_new / n
vectors: m <- beta m + (1 - beta) c z (first step m = c z);  theta <- theta - eta m

N has the shape of U (m x r), so the momentum of a matrix costs 4 r / n bytes per entry. 2 forward passes per
step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, dense, two_sided
from zobench.zo.factored import BasisUpdate, product, working_dtype
from zobench.zo.lowrank import LazyRight
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate


@dataclass(frozen=True)
class LozoMConfig(Parameters):
    """Parameters of LOZO-M; defaults of the authors' OPT runs, in the code's scale (no 1/r).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: r, clipped to the smaller side of each matrix.
        interval: steps nu for which V is kept fixed.
        momentum: beta.
    """

    lr: Rate = 1e-7
    epsilon: Positive = 1e-3
    rank: Count = 2
    interval: Count = 100
    momentum: FractionBelowOne = 0.9


class LeftMomentum(BasisUpdate[LazyRight]):
    """N <- beta N + (1 - beta) c U per matrix, transformed to the new V when V changes. Vectors: the same
    average of c z."""

    slots = ("left", "vector")
    family = LazyRight

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def step(self, direction: LazyRight, estimate: Estimate, name: str) -> torch.Tensor:
        if not direction.is_matrix(name):
            return self._averaged("vector", name, dense(direction, estimate, name))
        (seed,), (slope,) = estimate.seeds, estimate.coefficients
        fresh = direction.left(name, seed).mul_(slope).to(working_dtype(direction, name))
        (right,) = direction.basis(name)
        if self.moved(direction):
            (old,) = direction.basis_at(name, self.index)
            kept = self.slot("left", name, fresh)
            kept.copy_(kept.double() @ (old.T @ right) / right.shape[0])
        return product(direction, name, self._averaged("left", name, fresh), right)

    def _averaged(self, slot: str, name: str, fresh: torch.Tensor) -> torch.Tensor:
        """The running mean in this slot, initialized with the first value. Overwrites ``fresh``."""
        kept = self.slot(slot, name, fresh)
        if self.count == 1:
            return kept.copy_(fresh)
        return kept.mul_(self.beta).add_(fresh.mul_(1.0 - self.beta))


class LozoM(ZerothOrder):
    """LOZO with momentum in the space of U."""

    Config = LozoMConfig
    card = MethodCard(
        name="lozo-m",
        title="LOZO-M",
        source="arXiv 2410.07698",
        formula="N <- beta N + (1 - beta) c U; W <- W - eta N V^T; on a new V: N <- N V_old^T V_new / n",
        order="zeroth",
        replay="scalars",
        notes="Vectors have momentum, as in the authors' RoBERTa trainer (optsuite/LOZO@5d1ade5, read "
        "2026-11-29). As in LOZO here, the applied U is always the measured one, also in steps that redraw "
        "V. State is 4 r / n bytes per entry of a matrix; 4 bytes are declared, the case of vectors.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: LozoMConfig) -> Cost:
        return Cost(2, 2, 3, 4)

    def make_direction(self) -> LazyRight:
        c = self.config
        return LazyRight(self.engine.source, seed=self.seed, rank=c.rank, interval=c.interval)

    def make_update(self) -> LeftMomentum:
        return LeftMomentum(self.config.momentum)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
