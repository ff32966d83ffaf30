"""DeepZero: coordinate-wise estimation on a sparse active set, selected by ZO-GraSP (arXiv 2310.02025).

g_i = (L(theta + eps e_i) - L(theta)) / eps for the ``n`` active coordinates, 0 elsewhere
m <- mu m + g,  theta <- theta - eta m

ZO-GraSP, once: g = RGE at theta, h = RGE at theta + delta g, score = -theta * (h - g) / delta. The entries
with the smallest scores remain after pruning to ``density``. The share of a tensor among them is its share of
the active coordinates: a tensor of zeros, such as a new classification layer that starts at zero, gets none,
and behind it no other tensor has a gradient. Every ``interval`` steps new coordinates are drawn at random
within these shares. n + 1 forward passes per step, and 2 (q + 1) more in the first step. With ``reuse``, each
forward pass starts at the layer of its coordinate (``zobench.zo.reuse``): losses are bit-identical at about
half the work, and each still counts as one forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Gaussian
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate, dense, one_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, FractionBelowOne, Parameters, Positive, PositiveFraction, Rate
from zobench.zo.perturb import Displaced
from zobench.zo.reuse import Reusing
from zobench.zo.source import CounterSource
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import Entry, counter_only, largest_positions
from zobench.zo.updates import Momentum, Sgd, Update


@dataclass(frozen=True)
class DeepzeroConfig(Parameters):
    """Parameters of DeepZero; step size, momentum, radius and pruning queries as in the paper.

    Attributes:
        lr: step size eta.
        epsilon: finite-difference step eps.
        n: number of active coordinates, estimated one by one.
        momentum: mu.
        interval: number of steps between two selections of the active coordinates.
        density: share of the entries that remain after the pruning.
        pruning: ``grasp`` or ``uniform`` (shares by size; no extra forward passes).
        pruning_queries: number of directions q of each random estimate in the pruning.
        pruning_step: delta, relative to the length of the estimate.
        reuse: reuse the features below a coordinate's layer (modes ``snapshot`` and ``streamed``).
    """

    lr: Rate = 0.1
    epsilon: Positive = 5e-3
    n: Count = 64
    momentum: FractionBelowOne = 0.9
    interval: Count = 1
    density: PositiveFraction = 0.1
    pruning: Literal["grasp", "uniform"] = "grasp"
    pruning_queries: Count = 192
    pruning_step: Positive = 5e-3
    reuse: bool = True


def allotted(shares: Mapping[str, int], sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """``count`` coordinates distributed in proportion to ``shares`` by largest remainders, at most the size
    of each tensor. Coordinates that exceed a tensor's size go to the next tensors with free entries."""
    count = min(count, sum(sizes.values()))
    total = sum(shares.values())
    exact = {n: count * shares[n] / total for n in sizes}
    given = {n: min(sizes[n], math.floor(exact[n])) for n in sizes}
    by_remainder = sorted(sizes, key=lambda n: given[n] - exact[n])
    while sum(given.values()) < count:
        for name in by_remainder:
            if given[name] < sizes[name] and sum(given.values()) < count:
                given[name] += 1
    return given


class Deepzero(ZerothOrder):
    """Finite differences along active coordinates, with momentum."""

    Config = DeepzeroConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"n": 8, "pruning_queries": 4}
    card = MethodCard(
        name="deepzero",
        title="DeepZero",
        source="arXiv 2310.02025",
        formula="g_i = (L(theta + eps e_i) - L(theta)) / eps on active i; m <- mu m + g; theta <- theta - "
        "eta m",
        order="zeroth",
        replay="scalars",
        notes="n is a number, not a share, so that the cost is known beforehand. A loss that starts at its "
        "coordinate's layer counts as one forward pass, so that methods stay comparable. The pruning in the "
        "first step is not included in passes_per_step. The authors' RGE omits the factor d and normalizes; "
        "here the directions are plain Gaussian. Intended for small networks trained from scratch. Needs an "
        "exact mode.",
        revision=2,
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        counter_only(self.engine, "deepzero")
        if config.reuse and self.engine.mode in ("snapshot", "streamed"):
            self.engine.perturbation = Reusing(self.engine.perturbation)
        self.shares: dict[str, int] = {n: space.size(n) for n in space}
        self.pruned = config.pruning == "uniform"
        self._found: dict[str, int] | None = None

    @classmethod
    def cost(cls, config: DeepzeroConfig) -> Cost:
        extra = 2 * (config.pruning_queries + 1) if config.pruning == "grasp" else 0
        return Cost(config.n + 1, config.n + 1 + extra, 1, 4 if config.momentum else 0)

    def make_direction(self) -> Entry:
        return Entry(self.engine.source)

    def make_update(self) -> Update:
        return Momentum(self.config.momentum) if self.config.momentum else Sgd()

    def measure(self, objective: Objective) -> Estimate:
        if self.engine.mode == "in-place":
            raise ValueError("deepzero needs an exact mode: 'snapshot' or 'streamed', not 'in-place'")
        losses: tuple[float, ...] = ()
        self._found = None
        shares = self.shares
        if not self.pruned:
            shares, losses = self._grasp(objective)
            self._found = shares
        estimate = one_sided(self.engine, objective, self.direction, self.active(shares), self.smoothing())
        slopes = tuple(c * len(estimate.seeds) for c in estimate.coefficients)
        return Estimate(estimate.seeds, slopes, (*losses, *estimate.losses), estimate.loss)

    def active(self, shares: Mapping[str, int]) -> tuple[int, ...]:
        """Distinct positions of the active coordinates of this interval, derived from the run seed."""
        index = self.t // self.config.interval
        counts = allotted(shares, {n: self.space.size(n) for n in self.space}, self.config.n)
        found, start = [], 0
        for name in self.space:
            size, draw = self.space.size(name), 0
            chosen: set[int] = set()
            while len(chosen) < counts[name]:
                chosen.add(noise.derive_seed("active", self.seed, index, name, draw) % size)
                draw += 1
            found += [start + position for position in sorted(chosen)]
            start += size
        return tuple(found)

    def _grasp(self, objective: Objective) -> tuple[dict[str, int], tuple[float, ...]]:
        """Number of entries of every tensor that remain after ZO-GraSP, and the losses queried for it."""
        # A source of its own: the draws of the pruning are not part of ``passes_per_step``.
        c, gaussian = self.config, Gaussian(CounterSource(self.space))
        seeds, eps = self.seeds(c.pruning_queries, "pruning"), self.smoothing()
        here = one_sided(self.engine, objective, gaussian, seeds, eps)
        g = {name: dense(gaussian, here, name) for name in self.space}
        length = math.sqrt(math.fsum(float(t.double().square().sum()) for t in g.values()))
        delta = c.pruning_step / length if length > 0 and math.isfinite(length) else 0.0
        ascent = Displaced(g, delta)
        points = [(ascent,), *((ascent, *self.engine.along(gaussian, s, eps)) for s in seeds)]
        base, *losses = self.engine.losses(objective, points)
        slopes = tuple((x - base) / (eps * len(seeds)) for x in losses)
        moved = Estimate(seeds, slopes, (base, *losses), base)
        spent = (*here.losses, *moved.losses)
        if not delta or not all(math.isfinite(x) for x in spent):
            return self.shares, spent
        scores = {}
        for name in self.space:
            h = (dense(gaussian, moved, name) - g[name]) / delta
            scores[name] = self.space.entries(name).detach().to(h.dtype) * h
        count = max(1, round(c.density * self.space.numel))
        kept = largest_positions(scores, count)
        return {n: kept[n].numel() if n in kept else 0 for n in self.space}, spent

    def after(self, estimate: Estimate, moved: bool) -> None:
        if self._found is not None and moved:
            self.shares, self.pruned = self._found, True

    def state_dict(self) -> dict[str, Any]:
        shares = {f"share:{name}": count for name, count in self.shares.items()}
        return {**super().state_dict(), **shares, "pruned": self.pruned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.shares = {name: int(state[f"share:{name}"]) for name in self.space}
        self.pruned = bool(state["pruned"])
