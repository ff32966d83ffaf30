"""Random sparse perturbations: ``random-mask``, a baseline of arXiv 2506.03337, and ZO-Bench's gradient
sparsity, ``zo-sgd-sparse`` (arXiv 2402.11592).

c = (L(theta + eps m*z) - L(theta - eps m*z)) / (2 eps),  theta <- theta - eta * c * (m * z)

m selects an exact share of every tensor at random. ``random-mask`` uses one share for all tensors.
``zo-sgd-sparse`` takes each tensor's share from global magnitude pruning of the starting weights and selects
the entries at random. 2n forward passes per step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import SparseMask
from zobench.zo.engine import BoundEngine
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, CountOrZero, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only, kept_count, largest_positions, random_masks


@dataclass(frozen=True)
class RandomMaskConfig(Parameters):
    """Parameters of the random masks; lr and epsilon of ZO-Bench's sparsity runs, sparsity from its grid.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        sparsity: share of the entries that is zeroed, in [0, 1).
        interval: steps for which a mask is kept; 0: the whole run.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    sparsity: FractionBelowOne = 0.5
    interval: CountOrZero = 0


@dataclass(frozen=True)
class SparseGradientConfig(RandomMaskConfig):
    """Parameters of ZO-Bench's gradient sparsity.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        sparsity: share of all entries that is zeroed, in [0, 1).
        interval: steps for which a mask is kept; 0: the whole run.
    """

    interval: CountOrZero = 1


class RandomSubset(SparseMask):
    """m * z, where m has ``counts[name]`` entries per tensor and is redrawn every ``interval`` steps from its
    own seed."""

    def __init__(self, engine: BoundEngine, seed: int, counts: Mapping[str, int], interval: int) -> None:
        super().__init__(engine.gaussian(), {})
        self.seed, self.counts, self.interval = seed, dict(counts), interval
        self._index = -1
        self.refresh(0)

    def refresh(self, step: int) -> None:
        index = step // self.interval if self.interval else 0
        if index != self._index:
            self._index = index
            drawn = noise.derive_seed("mask", self.seed, index)
            self.set_masks(random_masks(self.source, drawn, self.counts, "mask"))


class RandomMask(ZerothOrder):
    """Two-sided SPSA on a random share of every tensor."""

    direction: RandomSubset

    Config: ClassVar[type] = RandomMaskConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"sparsity": 0.2}
    card = MethodCard(
        name="random-mask",
        title="random mask",
        source="arXiv 2402.11592, baseline of 2506.03337",
        formula="theta <- theta - eta * c * (m * z), m random with a share 1 - sparsity of ones per tensor",
        order="zeroth",
        summable=True,
        replay="scalars",
        in_span=True,
        notes="ZO-Bench's function compares a Gaussian with the ratio, so that 0.1 zeroes 54 %; here the "
        "number of entries is exact. There is no rescaling: the estimate is that of the gradient on the "
        "selected entries.",
    )

    @classmethod
    def cost(cls, config: RandomMaskConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_direction(self) -> RandomSubset:
        counter_only(self.engine, self.card.name)
        return RandomSubset(self.engine, self.seed, self.counts(), self.config.interval)

    def counts(self) -> dict[str, int]:
        """Number of selected entries per tensor."""
        return {n: kept_count(self.space.size(n), self.config.sparsity) for n in self.space}

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())


class SparseGradient(RandomMask):
    """ZO-Bench's gradient sparsity: random masks at layer-wise ratios of a magnitude pruning."""

    Config = SparseGradientConfig
    card = MethodCard(
        name="zo-sgd-sparse",
        title="ZO-SGD with gradient sparsity",
        source="arXiv 2402.11592",
        formula="theta <- theta - eta * c * (m * z), m random with each tensor's share from global magnitude "
        "pruning",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="The ratios are those of the starting weights, and each step uses a new mask. Both are "
        "zobench's choices: the authors' code has a random mask only. Every tensor keeps at least one "
        "entry.",
    )

    def counts(self) -> dict[str, int]:
        total = kept_count(self.space.numel, self.config.sparsity)
        magnitudes = {n: self.space.entries(n).detach().abs() for n in self.space}
        found = largest_positions(magnitudes, total)
        return {n: max(1, found[n].numel() if n in found else 0) for n in self.space}

    def state_dict(self) -> dict[str, Any]:
        counts = {f"kept:{name}": count for name, count in self.direction.counts.items()}
        return {**super().state_dict(), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        counts = {name: int(state[f"kept:{name}"]) for name in self.space}
        self.direction = RandomSubset(self.engine, self.seed, counts, self.config.interval)
