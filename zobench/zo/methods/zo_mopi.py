"""ZO-MOPI: subspace momentum, partly orthogonalized by one power iteration a step (arXiv 2605.09034).

W in R^(m x n): u_i = P Z_i, P (m x r) orthonormal, redrawn every ``interval`` steps, Z_i (r x n) ~ N(0, 1)
c_i = (L(theta + eps u_i) - L(theta - eps u_i)) / (2 eps),  G = (1/n) sum_i c_i Z_i
K <- beta K + (1 - beta) G                          (r x n; on a new P first K <- P_new^T P_old K)
V <- QR(K^T (K V)),  U = columns of K V, each divided by its length,  W <- W - eta P U V^T
vectors: theta <- theta - eta vector_scale (1/n) sum_i c_i z_i

V (n x k) holds the top k right singular directions of K, warm-started from the step before. 2n forwards a
step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, dense, two_sided
from zobench.zo.factored import BasisUpdate
from zobench.zo.lowrank import Projected
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.zo_muon import lifted, reduced
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, Rate


@dataclass(frozen=True)
class ZoMopiConfig(Parameters):
    """Parameters of ZO-MOPI; values were not found: ZO-Muon's, with momentum 0.9 and k = 8.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step (N).
        rank: r, clipped to the rows of each matrix.
        interval: steps for which P is kept fixed.
        directions: k, singular directions that are kept, clipped to min(r, n).
        momentum: beta.
        vector_scale: eta of vectors as a multiple of ``lr``.
    """

    lr: Rate = 1e-2
    epsilon: Positive = 1e-3
    n: Count = 2
    rank: Count = 64
    interval: Count = 100
    directions: Count = 8
    momentum: FractionBelowOne = 0.9
    vector_scale: Rate = 1e-5


class PowerIterated(BasisUpdate[Projected]):
    """Momentum K in the subspace and its streamed right singular directions V, both in float64."""

    slots = ("momentum", "right")
    family = Projected

    def __init__(self, beta: float, directions: int, vector_scale: float) -> None:
        super().__init__()
        self.beta, self.directions, self.vector_scale = beta, directions, vector_scale

    def step(self, direction: Projected, estimate: Estimate, name: str) -> torch.Tensor:
        if not direction.is_matrix(name):
            return dense(direction, estimate, name).mul_(self.vector_scale)
        fresh = reduced(direction, estimate, name)
        kept = self.slot("momentum", name, fresh)
        if self.moved(direction):
            (old,), (new,) = direction.basis_at(name, self.index), direction.basis(name)
            kept.copy_((new.T @ old) @ kept)
        kept.mul_(self.beta).add_(fresh.mul_(1.0 - self.beta))
        right = torch.linalg.qr(kept.T @ (kept @ self._warm(direction, name))).Q
        self.state["right"][name] = right
        left = kept @ right
        lengths = left.norm(dim=0)
        left = left / torch.where(lengths > 0, lengths, torch.ones_like(lengths))
        return lifted(direction, left @ right.T, name)

    def _warm(self, direction: Projected, name: str) -> torch.Tensor:
        """V of the step before, or a random orthonormal one in the first step."""
        if name in self.state["right"]:
            return self.state["right"][name]
        _, n, r = direction.size(name)
        return direction.orthonormal("warm", (n, min(self.directions, r, n)), direction.seed, name)


class ZoMopi(ZerothOrder):
    """Spectral steps along the top singular directions of a subspace momentum."""

    Config = ZoMopiConfig
    card = MethodCard(
        name="zo-mopi",
        title="ZO-MOPI",
        source="arXiv 2605.09034",
        formula="K <- ema(mean_i c_i Z_i); V <- QR(K^T K V); W <- W - eta P normalize(K V) V^T",
        order="zeroth",
        replay="scalars",
        notes="Known from abstract and a secondary note. Ours: orthonormal P as in ZO-Muon, the "
        "projection of K onto a new P, all default values. State is 8 (r + k) / m bytes per entry of a "
        "matrix; 16 are declared, the worst case r = k = m.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: ZoMopiConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 16)

    def make_direction(self) -> Projected:
        c = self.config
        return Projected(self.engine.source, seed=self.seed, rank=c.rank, interval=c.interval)

    def make_update(self) -> PowerIterated:
        c = self.config
        return PowerIterated(c.momentum, c.directions, c.vector_scale)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
