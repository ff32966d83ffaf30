"""Block-wise ZO-SGD: one projected gradient per block of layers (arXiv 2402.11592).

c_b = (L(theta + eps z_b) - L(theta - eps z_b)) / (2 eps), z_b zero outside block b, b = 1..B
joint:       theta <- theta - eta * sum_b c_b z_b
sequential:  block by block, each measured after the update of the blocks before it

2B forward passes per step. The variance decreases from d |g|^2 to sum_b d_b |g_b|^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction, groups_by_layer
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Parameters, Positive, Rate
from zobench.zo.perturb import Along
from zobench.zo.sparse import counter_only, parts_of

BLOCK_BITS = 16


@dataclass(frozen=True)
class ZoSgdBlockConfig(Parameters):
    """Parameters of block-wise ZO-SGD; lr and epsilon as MeZO's. ZO-Bench takes each module as a block; here
    the number of blocks is set, so that the cost does not depend on the model.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        blocks: number B of blocks; layers are merged in the module's order.
        order: ``joint`` (all measured at theta) or ``sequential`` (each block is updated before the next).
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    blocks: Annotated[int, Bounds(ge=1, le=(1 << BLOCK_BITS) - 1)] = 4
    order: Literal["joint", "sequential"] = "joint"


class OneBlock(Direction):
    """z on one block, zero elsewhere. The lower 16 bits of the seed are the block's number."""

    def __init__(self, inner: Direction, blocks: list[list[str]]) -> None:
        super().__init__(inner.source)
        self.inner, self.blocks = inner, [frozenset(b) for b in blocks]

    def seeds(self, seed: int) -> list[int]:
        """One seed per block."""
        return [seed >> BLOCK_BITS << BLOCK_BITS | b for b in range(len(self.blocks))]

    def seed_of(self, number: int) -> int:
        return number >> BLOCK_BITS << BLOCK_BITS | number % len(self.blocks)

    def touches(self, name: str, seed: int) -> bool:
        return name in self.blocks[seed & ((1 << BLOCK_BITS) - 1)]

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if self.touches(name, seed):
            self.inner.add_(tensor, name, seed, scale)


class ZoSgdBlock(ZerothOrder):
    """SPSA block by block."""

    Config = ZoSgdBlockConfig
    card = MethodCard(
        name="zo-sgd-block",
        title="ZO-SGD, block-wise",
        source="arXiv 2402.11592",
        formula="theta <- theta - eta * sum_b c_b z_b, c_b the two-sided slope along block b only",
        order="zeroth",
        summable=True,
        replay="scalars",
        unbiased=True,
        in_span=True,
        notes="By notes on ZO-Bench's code (ZO-Bench/ZO-LLM@bf210fa, 2026-11-22), which has both orders. It "
        "draws every block from one seed, so that blocks of equal shapes get equal noise; here each "
        "block has its own. Sequential order measures all blocks before anything is written, at the "
        "same points that the update then passes. With fewer tensors than blocks there are fewer "
        "blocks and fewer forwards. unbiased refers to the joint order.",
    )

    @classmethod
    def cost(cls, config: ZoSgdBlockConfig) -> Cost:
        passes = 3.0 if config.order == "joint" else 3.0 + config.blocks
        return Cost(2 * config.blocks, 2 * config.blocks, passes, 0)

    def make_direction(self) -> OneBlock:
        counter_only(self.engine, "zo-sgd-block")
        blocks = parts_of(groups_by_layer(list(self.space)), self.config.blocks)
        return OneBlock(self.engine.gaussian(), blocks)

    def measure(self, objective: Objective) -> Estimate:
        assert isinstance(self.direction, OneBlock)
        seeds = self.direction.seeds(self.seeds(1)[0])
        eps = self.smoothing()
        if self.config.order == "sequential":
            return self._sequential(objective, seeds, eps)
        estimate = two_sided(self.engine, objective, self.direction, seeds, eps)
        slopes = tuple(c * len(seeds) for c in estimate.coefficients)
        return Estimate(estimate.seeds, slopes, estimate.losses, estimate.loss)

    def _sequential(self, objective: Objective, seeds: list[int], eps: float) -> Estimate:
        walked: list[Along] = []
        losses: list[float] = []
        slopes: list[float] = []
        for seed in seeds:
            points = [(*walked, *self.engine.along(self.direction, seed, s * eps)) for s in (1.0, -1.0)]
            plus, minus = self.engine.losses(objective, points)
            losses += [plus, minus]
            slopes.append((plus - minus) / (2 * eps))
            walked += self.engine.along(self.direction, seed, -self.learning_rate() * slopes[-1])
        return Estimate(tuple(seeds), tuple(slopes), tuple(losses), (losses[0] + losses[1]) / 2)
