"""Subspace-MeZO: two-sided SPSA in a row subspace (arXiv 2602.17155, the baseline of ZO-Muon).

W in R^(m x n): u = P Z, P (m x r) Haar-orthonormal, redrawn every ``interval`` steps, Z (r x n) ~ N(0, 1)
c = (L(theta + eps u) - L(theta - eps u)) / (2 eps),  W <- W - eta c P Z
vectors: z ~ N(0, I),  theta <- theta - eta vector_scale c z

E[<G, u> u] = P P^T G, which is (r / m) G on average over P. 2 forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.lowrank import Projected
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.zo_muon import Orthogonalized
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.updates import Decay


@dataclass(frozen=True)
class SubspaceMezoConfig(Parameters):
    """Parameters of Subspace-MeZO; defaults of the authors' OPT-13B runs.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        rank: r, clipped to the rows of each matrix.
        interval: steps for which P is kept fixed.
        vector_scale: eta of vectors as a multiple of ``lr`` (their code: 1e-7 at lr 1e-2).
        weight_decay: coupled decay rate wd; biases and layer norms do not decay (rule ``mezo``).
    """

    lr: Rate = 1e-2
    epsilon: Positive = 1e-3
    rank: Count = 64
    interval: Count = 100
    vector_scale: Rate = 1e-5
    weight_decay: Rate = 0.0


class SubspaceMezo(ZerothOrder):
    """SPSA with a random projection of the rows."""

    Config = SubspaceMezoConfig
    card = MethodCard(
        name="subspace-mezo",
        title="Subspace-MeZO",
        source="arXiv 2602.17155",
        formula="W <- W - eta [(L(W+eps P Z) - L(W-eps P Z)) / (2 eps)] P Z",
        order="zeroth",
        replay="scalars",
        notes="Follows the authors' code (OPTML-Group/ZO-Muon@166a8f3, its option sgd, read 2026-11-29). "
        "The step size of vectors is vector_scale * eta (see zo-muon). A step therefore leaves the measured "
        "span if both kinds are tuned and vector_scale is not 1. Not unbiased: E[estimate] = P P^T G. It is "
        "the baseline of zo-muon; a claim of its own is not known. In suites/queries-to-target.yaml it needs "
        "1.46 times MeZO's forward passes [1.21, 1.77] (docs/claims.md).",
        decay="As zo-muon: coupled; spares names with bias, layer_norm or layernorm; vectors with step size "
        "eta vector_scale.",
        revision=3,
    )

    @classmethod
    def cost(cls, config: SubspaceMezoConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def make_direction(self) -> Projected:
        c = self.config
        return Projected(self.engine.source, seed=self.seed, rank=c.rank, interval=c.interval)

    def make_update(self) -> Orthogonalized:
        c = self.config
        return Orthogonalized(lambda inner: inner, c.vector_scale, Decay(c.weight_decay, "mezo"))

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())
