"""ZO-SGD with a random sketch S (d x k) instead of k independent directions (arXiv 2510.10945).

g = (1/k) sum_j D_j s_j, D_j the finite difference along column s_j,  theta <- theta - eta g, E[S S^T] / k = I

Sketches: ``gaussian``, ``rademacher`` (independent columns), ``coordinate`` (s = sqrt(d) e_i, i uniform),
``hadamard`` (subsampled randomized Hadamard: s_j = signs * row j of the Hadamard matrix, with distinct rows
and common signs within a step, so that columns are orthogonal if d is a power of two).
2k forward passes per step (two-sided) or k + 1 (one-sided).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Coordinate, Direction, Rademacher
from zobench.zo.estimators import Estimate, one_sided, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.source import NoiseSource
from zobench.zo.sparse import counter_only

ROW_BITS = 32


@dataclass(frozen=True)
class SketchingConfig(Parameters):
    """Parameters of sketched ZO-SGD; lr and epsilon are MeZO's, k = 4. The paper gives theory and experiments
    on quadratics and logistic regression, no values for language models.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: columns of the sketch (k).
        sketch: ``gaussian``, ``rademacher``, ``hadamard`` or ``coordinate``.
        sides: ``two`` or ``one``.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 4
    sketch: Literal["gaussian", "rademacher", "hadamard", "coordinate"] = "gaussian"
    sides: Literal["two", "one"] = "two"


class Hadamard(Direction):
    """u[p] = sign[p] (-1)^popcount(row & p), with p the entry's position in the whole space. The lower 32
    bits of the seed are the row; the upper bits seed the signs."""

    def __init__(self, source: NoiseSource) -> None:
        super().__init__(source)
        self._signs = Rademacher(source)
        self.size = 1 << max(0, (self.space.numel - 1).bit_length())
        if self.size > 1 << ROW_BITS:
            raise ValueError(f"the Hadamard sketch takes up to 2^{ROW_BITS} entries, got {self.space.numel}")
        self._start, start = {}, 0
        for name in self.space:
            self._start[name] = start
            start += self.space.size(name)

    def columns(self, seed: int, count: int) -> tuple[int, ...]:
        """Seeds of ``count`` distinct rows with the same signs; ``ValueError`` if there are fewer rows."""
        if count > self.size:
            raise ValueError(f"{count} distinct rows requested of a Hadamard matrix of {self.size}")
        high, low = seed >> ROW_BITS << ROW_BITS, seed & ((1 << ROW_BITS) - 1)
        # An odd stride is coprime to ``size``, a power of two: the rows are distinct.
        stride = (low >> 16) | 1
        return tuple(high | ((low + i * stride) % self.size) for i in range(count))

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        row = seed & ((1 << ROW_BITS) - 1)
        start, size = self._start[name], self.space.size(name)
        bits = torch.arange(start, start + size, device=tensor.device) & row
        # Parity of popcount(row & p) by folding the bits onto the lowest one.
        for fold in (16, 8, 4, 2, 1):
            bits = bits ^ (bits >> fold)
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        u = torch.zeros(tensor.shape, dtype=wide, device=tensor.device)
        self._signs.add_(u, name, seed >> ROW_BITS, scale)
        u = torch.where((bits & 1).bool().reshape(u.shape), -u, u)
        tensor.copy_(u.add_(tensor.to(wide)))


class Sketching(ZerothOrder):
    """SGD on S S^T grad L."""

    Config = SketchingConfig
    card = MethodCard(
        name="sketching",
        title="ZO-SGD with a sketch",
        source="arXiv 2510.10945",
        formula="theta <- theta - eta (1/k) sum_j D_j s_j, s_j the columns of a random sketch",
        order="zeroth",
        replay="scalars",
        unbiased=True,
        in_span=True,
        notes="The paper (abstract and theory read through notes of 2026-11-22) unifies finite differences "
        "as S times the differences along the columns of an oblivious sketch S; which families its "
        "experiments use is not known. The four here are scaled so that each estimates the gradient "
        "itself. Coordinates are drawn with replacement. Gaussian and Rademacher with two sides are "
        "n-SPSA by construction. unbiased refers to two sides.",
    )

    @classmethod
    def cost(cls, config: SketchingConfig) -> Cost:
        if config.sides == "two":
            return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)
        return Cost(config.n + 1, config.n + 1, 2 * config.n, 0)

    def make_direction(self) -> Direction:
        counter_only(self.engine, "sketching")
        kind = self.config.sketch
        if kind == "gaussian":
            return self.engine.gaussian()
        if kind == "rademacher":
            return self.engine.rademacher()
        return Hadamard(self.engine.source) if kind == "hadamard" else Coordinate(self.engine.source)

    def columns(self) -> tuple[int, ...]:
        """Seeds of the coming step's columns."""
        n = self.config.n
        if isinstance(self.direction, Hadamard):
            return self.direction.columns(self.seeds(1)[0], n)
        return self.seeds(n)

    def measure(self, objective: Objective) -> Estimate:
        estimator = two_sided if self.config.sides == "two" else one_sided
        return estimator(self.engine, objective, self.direction, self.columns(), self.smoothing())
