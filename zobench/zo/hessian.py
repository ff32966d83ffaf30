"""Diagonal of the Hessian from quadratic forms, using losses only (arXiv 2506.15360).

q_i = u_i^T A u_i, u_i ~ N(0, I):  diag(A) ~ (1 / 2n) sum_i q_i (u_i * u_i - 1), unbiased for symmetric A
with A the Hessian:  q_i ~ (L(theta + eps u_i) + L(theta - eps u_i) - 2 L(theta)) / eps^2, error O(eps^2)

The same 2n + 1 losses give the two-sided gradient estimate. The variance of an entry grows with ||A||_F^2, so
a preconditioner should average over steps (``methods/zo_newton_diagonal.py``). eps must be large enough for
second differences: rounding of the losses adds an error of up to 4 ulp(L) / eps^2 to q.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine
from zobench.zo.estimators import Estimate
from zobench.zo.objective import Objective


@dataclass(frozen=True)
class Curvature:
    """The estimate diag_hat(A) = sum_i weights[i] (u(seed_i)^2 - 1), stored as a weighted list of seeds."""

    seeds: tuple[int, ...]
    weights: tuple[float, ...]

    def diagonal(self, direction: Direction, name: str) -> torch.Tensor:
        """The estimate for one tensor, float32 (float64 for float64 weights). Cost: one noise draw per
        seed."""
        total: torch.Tensor | None = None
        for seed, weight in zip(self.seeds, self.weights, strict=True):
            part = direction.tensor(name, seed).square_().sub_(1.0).mul_(weight)
            total = part if total is None else total.add_(part)
        assert total is not None, "at least one seed"
        return total


def two_sided_with_curvature(
    engine: BoundEngine, objective: Objective, direction: Direction, seeds: Sequence[int], epsilon: float
) -> tuple[Estimate, Curvature]:
    """The SPSA gradient estimate and the diagonal of the Hessian from the same losses; L(theta) is queried
    first. Cost: 2n + 1 forward passes.

    ``direction`` must be Gaussian, otherwise ``ValueError``: the estimator needs E[u_i^4] = 3.
    """
    if direction.fourth_moment != 3.0:
        raise ValueError("the diagonal of the Hessian needs Gaussian directions")
    points = [engine.along(direction, seed, sign * epsilon) for seed in seeds for sign in (1.0, -1.0)]
    base, *losses = engine.losses(objective, [(), *points])
    pairs = list(zip(losses[::2], losses[1::2], strict=True))
    n = len(seeds)
    forms = [(plus + minus - 2 * base) / epsilon**2 for plus, minus in pairs]
    estimate = Estimate(
        seeds=tuple(seeds),
        coefficients=tuple((plus - minus) / (2 * epsilon * n) for plus, minus in pairs),
        losses=(base, *losses),
        loss=base,
        extras={"curvature": math.fsum(forms) / n if all(map(math.isfinite, forms)) else math.nan},
    )
    return estimate, Curvature(tuple(seeds), tuple(form / (2 * n) for form in forms))
