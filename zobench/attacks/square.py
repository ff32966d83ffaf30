"""Square Attack: random search over squares at the border of an L-infinity ball (arXiv 1912.00049).

x_0 = x + stripes of -eps and +eps, one per column and channel
x'  = x_i, one random square set to x - eps or x + eps in each channel;  accepted if its margin is lower

The side of the square is sqrt(p * height * width); p is halved after 0.1, 0.5, 2, 10, 20, 40, 60 and 80 % of
the queries. Cost: at most ``budget`` queries per example, the clean one included. Difference from the paper:
pixels are rounded to 1/255. Budget-matched random baseline (null): as many images with random signs of eps on
every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from zobench.attacks.base import AttackContext, QueryConfig
from zobench.attacks.image_attack import ImageAttack, Pixels, clipped, level, random_search, side_of, start
from zobench.attacks.lockstep import Search
from zobench.attacks.session import Session, Try
from zobench.parameters import Bounds, Count


@dataclass(frozen=True, kw_only=True)
class SquareConfig(QueryConfig):
    budget: Count = 100
    """Queries per example, the clean one and the confirmations included."""
    epsilon: Annotated[float, Bounds(gt=0, le=1)] = 0.1
    """Largest change of a pixel, as a share of the range of pixel values."""
    area: Annotated[float, Bounds(gt=0, le=1)] = 0.8
    """p of the first square: share of the image that it covers (0.8 is the paper's for MNIST)."""


class Square(ImageAttack):
    """Square Attack on an L-infinity ball. Black box: it reads only the class probabilities."""

    Config = SquareConfig
    name: ClassVar[str] = "square"
    config: SquareConfig

    def intensity(self) -> tuple[str, float]:
        """Largest change of a pixel."""
        return "epsilon", self.config.epsilon

    def drawn(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        signs = random.choice((-1, 1), size=pixels.shape)
        return clipped(pixels.astype(int) + level(self.config.epsilon) * signs)

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        pixels, random = start(session)
        clean, size = pixels.astype(int), level(self.config.epsilon)
        height, width, channels = clean.shape

        def propose(delta: Pixels, query: int, queries: int) -> Pixels:
            side = side_of(self.config.area, query, queries, height * width, min(height, width))
            top, left = random.integers(height - side + 1), random.integers(width - side + 1)
            proposed = delta.copy()
            proposed[top : top + side, left : left + side] = size * random.choice((-1, 1), size=channels)
            return proposed

        stripes = np.broadcast_to(size * random.choice((-1, 1), size=(1, width, channels)), clean.shape)
        won = yield from random_search(session, stripes, lambda delta: clipped(clean + delta), propose)
        return won
