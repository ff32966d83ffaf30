"""Estimators: which losses are queried and how they combine into a weighted list of seeds.

An ``Estimate`` represents the gradient estimate  g_hat = sum_i c_i u(seed_i)  by its seeds and coefficients,
without storing the vector. ``dense`` forms it one tensor at a time. Methods with another kind of estimate
define it in their own file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine
from zobench.zo.objective import Objective


@dataclass(frozen=True)
class Estimate:
    """g_hat = sum_i coefficients[i] u(seeds[i]).

    Attributes:
        seeds: the seeds of the directions.
        coefficients: the coefficient of each direction.
        losses: every loss queried, in order.
        loss: the loss to plot.
        extras: further scalars for the record (step-size factors, spreads, derivatives).
        reason: why the step must be refused; empty otherwise.
    """

    seeds: tuple[int, ...]
    coefficients: tuple[float, ...]
    losses: tuple[float, ...]
    loss: float
    extras: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def ties(self) -> int:
        """Number of coefficients that are exactly 0 (equal losses)."""
        return sum(c == 0.0 for c in self.coefficients)

    def refusal(self) -> str:
        """Why this estimate must not be used: a non-finite loss or coefficient, or ``reason``. Empty if it
        may be used.

        A tie (equal losses, coefficient 0) is a valid estimate: momentum, moments and weight decay advance by
        their own formulas. Only rules that would divide by a spread of 0, or have no pair with a known order,
        set ``reason``. Ties were refused before 2026-11-29. Steps without a tie have kept their bits since
        then, as have plain SGD steps with one. Methods without a revision of their own keep their run ids;
        of their runs, only those with weight decay in which a tie occurred differ.
        """
        if not all(math.isfinite(value) for value in self.losses):
            return "non-finite loss"
        if self.reason:
            return self.reason
        if not all(math.isfinite(value) for value in self.coefficients):
            return "non-finite coefficient"
        return ""


def dense(direction: Direction, estimate: Estimate, name: str) -> torch.Tensor:
    """g_hat[name] in the shape of the tuned entries, float32 (float64 for float64 weights)."""
    space = direction.space
    dtype = torch.float64 if space.dtype(name) == torch.float64 else torch.float32
    out = torch.zeros(space.shape(name), dtype=dtype, device=space.tensors[name].device)
    for seed, coefficient in zip(estimate.seeds, estimate.coefficients, strict=True):
        if coefficient != 0.0 and direction.touches(name, seed):
            direction.add_(out, name, seed, coefficient)
    return out


def two_sided(
    engine: BoundEngine, objective: Objective, direction: Direction, seeds: Sequence[int], epsilon: float
) -> Estimate:
    """SPSA averaged over n seeds: c_i = (L(theta + eps u_i) - L(theta - eps u_i)) / (2 eps n).

    The plotted loss is the mean of the 2n losses, L(theta) + O(eps^2). Cost: 2n forward passes. Source: arXiv
    2305.17333, definition 1.
    """
    points = [engine.along(direction, seed, sign * epsilon) for seed in seeds for sign in (1.0, -1.0)]
    losses = engine.losses(objective, points)
    n = len(seeds)
    pairs = list(zip(losses[::2], losses[1::2], strict=True))
    if engine.legacy is None:
        slopes = [(plus - minus) / (2 * epsilon) for plus, minus in pairs]
    else:
        slopes = [_legacy_slope(plus, minus, epsilon, objective.loss_dtype) for plus, minus in pairs]
    return Estimate(
        seeds=tuple(seeds),
        coefficients=tuple(slope / n for slope in slopes),
        losses=tuple(losses),
        loss=math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else math.nan,
        extras=_loss_bits(objective) if engine.legacy is not None else {},
    )


def _loss_bits(objective: Objective) -> dict[str, float]:
    """Bits per loss value, for the record; empty for float32."""
    bits = torch.finfo(objective.loss_dtype).bits
    return {} if bits == 32 else {"loss_bits": float(bits)}


def _legacy_slope(plus: float, minus: float, epsilon: float, dtype: torch.dtype) -> float:
    """The projected gradient, computed from loss tensors in their own dtype as in the MeZO code base: there,
    a half-precision loss has the dtype of the logits."""
    return float((torch.tensor(plus, dtype=dtype) - torch.tensor(minus, dtype=dtype)) / (2 * epsilon))


def losses_of_items(engine: BoundEngine, objective: Objective, *point: Any) -> list[float]:
    """The losses of the minibatch's items at theta displaced by ``point``. Cost: 1 forward pass."""
    if objective.recorded:
        return objective.item_losses()
    with engine.perturbation.displaced(point):
        return objective.item_losses()


def one_sided(
    engine: BoundEngine, objective: Objective, direction: Direction, seeds: Sequence[int], epsilon: float
) -> Estimate:
    """c_i = (L(theta + eps u_i) - L(theta)) / (eps n). L(theta) is queried first and is the plotted loss.
    Cost: n + 1 forward passes."""
    points = [(), *(engine.along(direction, seed, epsilon) for seed in seeds)]
    base, *losses = engine.losses(objective, points)
    n = len(seeds)
    return Estimate(
        seeds=tuple(seeds),
        coefficients=tuple((loss - base) / (epsilon * n) for loss in losses),
        losses=(base, *losses),
        loss=base,
    )


def one_point_residual(
    engine: BoundEngine,
    objective: Objective,
    direction: Direction,
    seed: int,
    epsilon: float,
    previous: float | None,
) -> Estimate:
    """c = (L_t(theta_t + eps u_t) - previous) / eps, where ``previous`` is the loss queried one step earlier.
    Cost: 1 forward pass.

    In the first step ``previous`` is ``None``: the loss is queried and the step is refused with that reason.
    """
    loss = engine.loss(objective, *engine.along(direction, seed, epsilon))
    coefficient = 0.0 if previous is None else (loss - previous) / epsilon
    reason = "first query: nothing to compare with" if previous is None else ""
    return Estimate((seed,), (coefficient,), (loss,), loss, reason=reason)


def forward_mode(
    engine: BoundEngine, objective: Objective, direction: Direction, seeds: Sequence[int]
) -> Estimate:
    """c_i = <grad L(theta), u_i> / n by Jacobian-vector products: exact directional derivatives. Cost: 2n
    forward passes."""
    space = direction.space
    losses, slopes = [], []
    for seed in seeds:
        # Empty in a replay, which reads losses and derivatives from the record.
        tangents = {
            name: space.spread(name, direction.tensor(name, seed))
            for name in space
            if direction.touches(name, seed) and not objective.recorded
        }
        loss, slope = objective.jvp(tangents)
        losses.append(loss)
        slopes.append(slope)
    n = len(seeds)
    return Estimate(
        seeds=tuple(seeds),
        coefficients=tuple(slope / n for slope in slopes),
        losses=tuple(losses),
        loss=losses[0],
        extras={f"derivative_{i}": slope for i, slope in enumerate(slopes)},
    )
