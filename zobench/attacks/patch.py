"""Patch attack: random search over place and pattern of a square patch (after Sparse-RS, arXiv 2006.12834).

The patch has ``side`` by ``side`` pixels with values 0 or 255 in each channel, at a random place first. A
query sets a random square inside the patch to a random colour; every ``move_every``-th query moves the patch
instead. A proposal is accepted if its margin is lower. The squares shrink as in Square Attack. Cost: at most
``budget`` queries per example, the clean one included. Differences from the paper: the patch moves at a fixed
rate and anywhere in the image, where the paper's moves get shorter and rarer. Budget-matched random baseline
(null): as many random patterns at random places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from zobench.attacks.base import AttackContext, QueryConfig
from zobench.attacks.image_attack import ImageAttack, Pixels, clipped, random_search, side_of, start
from zobench.attacks.lockstep import Search
from zobench.attacks.session import Session, Try
from zobench.parameters import Bounds, Count

Placed = tuple[Pixels, tuple[int, int]]
"""A pattern, and row and column of its first pixel."""


@dataclass(frozen=True, kw_only=True)
class PatchConfig(QueryConfig):
    budget: Count = 100
    """Queries per example, the clean one and the confirmations included."""
    side: Count = 5
    """Side of the patch in pixels; at most the image's shorter side."""
    area: Annotated[float, Bounds(gt=0, le=1)] = 0.8
    """Share of the patch that the first changed square covers."""
    move_every: Annotated[int, Bounds(ge=2)] = 5
    """Every how many queries the patch moves."""


class Patch(ImageAttack):
    """A patch found by random search. Black box: it reads only the class probabilities."""

    Config = PatchConfig
    name: ClassVar[str] = "patch"
    config: PatchConfig

    def intensity(self) -> tuple[str, float]:
        """Side of the patch."""
        return "side", float(self.config.side)

    def drawn(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        return _placed(pixels, self._random(pixels, random))

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        pixels, random = start(session)
        side = self._side(pixels)

        def propose(patch: Placed, query: int, queries: int) -> Placed:
            pattern, place = patch
            if query % self.config.move_every == 0:
                return pattern, _place(pixels, side, random)
            part = side_of(self.config.area, query, queries, side * side, side)
            top, left = random.integers(side - part + 1, size=2)
            pattern = pattern.copy()
            pattern[top : top + part, left : left + part] = 255 * random.integers(2, size=pixels.shape[2])
            return pattern, place

        won = yield from random_search(
            session, self._random(pixels, random), lambda patch: _placed(pixels, patch), propose
        )
        return won

    def _random(self, pixels: Pixels, random: np.random.Generator) -> Placed:
        side = self._side(pixels)
        pattern = clipped(255 * random.integers(2, size=(side, side, pixels.shape[2])))
        return pattern, _place(pixels, side, random)

    def _side(self, pixels: Pixels) -> int:
        return min(self.config.side, *pixels.shape[:2])


def _place(pixels: Pixels, side: int, random: np.random.Generator) -> tuple[int, int]:
    """Row and column of the patch's first pixel, uniform over all places inside the image."""
    height, width = pixels.shape[:2]
    return int(random.integers(height - side + 1)), int(random.integers(width - side + 1))


def _placed(pixels: Pixels, patch: Placed) -> Pixels:
    """The image with the patch on it."""
    out, (pattern, (top, left)) = pixels.copy(), patch
    side = len(pattern)
    out[top : top + side, left : left + side] = pattern
    return out
