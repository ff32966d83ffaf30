"""Diagnostics of a step: quality of the estimate, and the shape of the loss at the current weights.

- gradient-cosine: <g_hat, g> / (|g_hat| |g|) with g by backpropagation on the same minibatch; the same for
  the update -(theta_{t+1} - theta_t); both norms. Cost: 3 forward passes.
- variance: sum_i Var[(c u)_i] of the two-sided estimate along one direction of the method's own family, from
  K new directions. Cost: 2K forward passes.
- effective-rank: exp of the entropy of the normalized singular values (Roy and Vetterli 2007), mean over the
  matrices of the estimate and of the update. Cost: no forward pass.
- sharpness: u^T H u / |u|^2 by central second differences along K Gaussian directions. Cost: 2K + 1 forward
  passes.
- gradip: <g_pre, g_hat> with g_pre the gradient at the starting weights (arXiv 2506.03337). Cost: no forward
  pass in the step.
- probe-losses: spread of the losses queried in the step, and the loss at theta. Cost: 1 forward pass, shared
  with sharpness.

Diagnostics use their own objective and perturbation engine and counter-based noise, so that the observed run
keeps its bits. The weights must be at theta: mode ``in-place`` is not supported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from zobench.zo import noise
from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine, Engine
from zobench.zo.objective import Objective
from zobench.zo.space.base import ParameterSpace

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured number.

    Attributes:
        metric: its name.
        value: the number.
        n: number of items (queries, directions, matrices) it was computed from.
        stderr: standard error of a mean; otherwise ``None``.
    """

    metric: str
    value: float
    n: int = 1
    stderr: float | None = None


def tuned_gradient(objective: Objective, space: ParameterSpace) -> dict[str, torch.Tensor]:
    """The gradient of the tuned entries by backpropagation, float32 (float64 for float64 weights). Cost: 3
    forward passes."""
    _, grads = objective.gradient(space.tensors)
    found = {}
    for name in space:
        index = space.indices(name)
        values = grads[name].detach() if index is None else grads[name].detach().reshape(-1)[index]
        found[name] = values.to(torch.float64 if values.dtype == torch.float64 else torch.float32)
    return found


def inner(a: Tensors, b: Tensors) -> float:
    """<a, b> over all tensors, accumulated in float64."""
    return math.fsum(float((a[n].double() * b[n].double()).sum()) for n in a)


def norm(a: Tensors) -> float:
    """Euclidean norm over all tensors."""
    return math.sqrt(inner(a, a))


def cosine(a: Tensors, b: Tensors) -> float:
    """Cosine of the angle between a and b; NaN if either is zero."""
    lengths = norm(a) * norm(b)
    return inner(a, b) / lengths if lengths > 0 else math.nan


def effective_rank(matrix: torch.Tensor) -> float:
    """exp(-sum p log p), p the singular values divided by their sum; between 1 and the rank. NaN for zero."""
    values = torch.linalg.svdvals(matrix.float()).double()
    total = float(values.sum())
    if not total > 0:
        return math.nan
    p = values[values > 0] / total
    return math.exp(-float((p * p.log()).sum()))


def rank_reading(metric: str, tensors: Tensors) -> list[Reading]:
    """Mean effective rank over the non-zero matrices (two dimensions, both above 1); empty without any."""
    matrices = (t for t in tensors.values() if t.dim() == 2 and min(t.shape) > 1)
    ranks = [r for r in map(effective_rank, matrices) if math.isfinite(r)]
    return [mean_reading(metric, ranks)] if ranks else []


def mean_reading(metric: str, values: Sequence[float]) -> Reading:
    """The mean of at least one value; with its standard error for two or more."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Reading(metric, mean, n)
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    return Reading(metric, mean, n, math.sqrt(variance / n))


class Probe:
    """Losses around theta on a separate objective; the weights are never written.

    Args:
        objective: the loss on the observed minibatch; its meter counts the cost of the diagnostics.
        space: the tuned tensors, at theta.
        radius: smoothing radius of every finite difference.
        directions: the number K of directions.
        seed: seed from which the directions are derived (a function of run seed and step).
    """

    def __init__(
        self, objective: Objective, space: ParameterSpace, *, radius: float, directions: int, seed: int
    ) -> None:
        self.objective, self.space, self.radius = objective, space, radius
        self.engine: BoundEngine = Engine(mode="snapshot").bind(space, seed)
        self.seeds = tuple(noise.derive_seed("diagnostics", seed, k) for k in range(directions))
        self._here: float | None = None

    def here(self) -> float:
        """The loss at theta. It is computed once. Cost: 1 forward pass in all."""
        if self._here is None:
            self._here = self.objective.loss()
        return self._here

    def _pairs(self, direction: Direction, seeds: Iterable[int]) -> list[tuple[float, float]]:
        points = [self.engine.along(direction, s, sign * self.radius) for s in seeds for sign in (1.0, -1.0)]
        losses = self.engine.losses(self.objective, points)
        return list(zip(losses[::2], losses[1::2], strict=True))

    def variance(self, direction: Direction) -> list[Reading]:
        """Trace of the covariance of g = c u over ``direction``: (sum_k |g_k|^2 - |sum_k g_k|^2 / K) / (K -
        1). Empty for fewer than two directions or a non-finite loss. Cost: 2K forward passes."""
        seeds = tuple(direction.seed_of(s) for s in self.seeds)
        slopes = [(a - b) / (2 * self.radius) for a, b in self._pairs(direction, seeds)]
        k = len(slopes)
        if k < 2 or not all(math.isfinite(c) for c in slopes):
            return []
        squares, of_sum = 0.0, 0.0
        for name in self.space:
            total = torch.zeros(self.space.shape(name), dtype=torch.float64)
            for seed, slope in zip(seeds, slopes, strict=True):
                if direction.touches(name, seed):
                    g = direction.tensor(name, seed).double().cpu() * slope
                    squares += float(g.square().sum())
                    total += g
            of_sum += float(total.square().sum())
        return [Reading("query_variance", (squares - of_sum / k) / (k - 1), k)]

    def sharpness(self) -> list[Reading]:
        """Mean and maximum curvature along the K directions. Cost: 2K forward passes and ``here``."""
        gaussian, base = self.engine.gaussian(), self.here()
        pairs = self._pairs(gaussian, self.seeds)
        bends = []
        for seed, (up, down) in zip(self.seeds, pairs, strict=True):
            length = math.fsum(float(gaussian.tensor(n, seed).double().square().sum()) for n in self.space)
            bends.append((up + down - 2 * base) / (self.radius**2 * length))
        finite = [b for b in bends if math.isfinite(b)]
        if not finite:
            return []
        return [mean_reading("sharpness", finite), Reading("sharpness_max", max(finite), len(finite))]


def loss_readings(losses: Sequence[float], here: Callable[[], float]) -> list[Reading]:
    """Mean, minimum and maximum of the losses that a step queried, and the loss at theta."""
    finite = [x for x in losses if math.isfinite(x)]
    found = [Reading("loss_at_theta", here())]
    if finite:
        found += [
            mean_reading("probe_loss_mean", finite),
            Reading("probe_loss_min", min(finite), len(finite)),
            Reading("probe_loss_max", max(finite), len(finite)),
        ]
    return found
