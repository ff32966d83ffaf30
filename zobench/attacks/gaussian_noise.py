"""Gaussian noise on the pixels: independent draws, without a search.

x' = clip(x + sigma z), z standard normal for every pixel and channel, rounded to 1/255

Cost: at most ``budget`` queries per example, the clean one included. The attack is a random baseline itself:
its null is itself, so that its net success rate is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from zobench.attacks.base import Attack, AttackContext, QueryConfig
from zobench.attacks.image_attack import ImageAttack, Pixels, clipped, independent
from zobench.attacks.lockstep import Search
from zobench.attacks.session import Session, Try
from zobench.parameters import Bounds, Count


@dataclass(frozen=True, kw_only=True)
class GaussianNoiseConfig(QueryConfig):
    budget: Count = 10
    """Queries per example, the clean one and the confirmations included."""
    sigma: Annotated[float, Bounds(gt=0, le=1)] = 0.2
    """Standard deviation, as a share of the range of pixel values."""


class GaussianNoise(ImageAttack):
    """Gaussian noise of one strength. Black box: it reads only the answers."""

    Config = GaussianNoiseConfig
    name: ClassVar[str] = "gaussian-noise"
    config: GaussianNoiseConfig

    def null(self) -> Attack:
        return self

    def intensity(self) -> tuple[str, float]:
        """Standard deviation of the noise."""
        return "sigma", self.config.sigma

    def drawn(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        return clipped(np.rint(pixels + 255 * self.config.sigma * random.standard_normal(pixels.shape)))

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        won = yield from independent(session, self.drawn, session.left)
        return won
