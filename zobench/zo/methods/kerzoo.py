"""KerZOO: two-sided estimates at a random radius, weighted by a kernel (arXiv 2505.18886).

r ~ U[-1, 1],  u ~ N(0, I),  K(r) = C (15/4) r (5 - 7 r^2)
g = K(r) (L(theta + eps r u) - L(theta - eps r u)) / (2 eps) u,  theta <- theta - eta g

E[r K(r)] = C and E[r^3 K(r)] = 0: with C = 1 the O(eps^2) bias of the estimate cancels. E[(r K)^2] = 6.25 for
C = 1, so that its variance is 6.25 times MeZO's. 2n forward passes per step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only


@dataclass(frozen=True)
class KerzooConfig(Parameters):
    """Parameters of KerZOO; lr and epsilon are MeZO's. The paper's values are not known.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps for r = 1.
        n: directions per step, each with its own radius.
        scale: the kernel's constant C.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    scale: Positive = 1.0


class RadiusGaussian(Direction):
    """Standard Gaussian noise without a declared fourth moment: the variance formula does not hold for a
    random radius."""

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        self.source.add_(tensor, name, seed, scale, "gaussian")


def kernel(r: float, scale: float = 1.0) -> float:
    """K(r) = C (15/4) r (5 - 7 r^2)."""
    return scale * 3.75 * r * (5.0 - 7.0 * r * r)


class Kerzoo(ZerothOrder):
    """Kernel-weighted SPSA."""

    Config = KerzooConfig
    card = MethodCard(
        name="kerzoo",
        title="KerZOO",
        source="arXiv 2505.18886",
        formula="theta <- theta - eta K(r) (L(theta+eps r u) - L(theta-eps r u)) / (2 eps) u, r ~ U[-1, 1]",
        order="zeroth",
        summable=True,
        replay="scalars",
        unbiased=True,
        in_span=True,
        notes="By a formula note on the paper (2026-11-29); no code is public. The formula has a constant C "
        "whose value the note does not give; C = 1 makes the estimate unbiased. The paper's other "
        "kernels, 3 C r and C (195/64) r (99 r^4 - 126 r^2 + 35), are not available here. extras: the "
        "radii.",
    )

    @classmethod
    def cost(cls, config: KerzooConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_direction(self) -> RadiusGaussian:
        counter_only(self.engine, "kerzoo")
        return RadiusGaussian(self.engine.source)

    def radii(self) -> list[float]:
        """The r of the coming step's directions."""
        seed = noise.derive_seed(self.seed, self.t, "radius")
        draw = noise.sample((self.config.n,), seed=seed, key=noise.tensor_key("radius"), kind="uniform")
        return [2.0 * float(x) - 1.0 for x in draw]

    def measure(self, objective: Objective) -> Estimate:
        n, eps = self.config.n, self.smoothing()
        seeds, radii = self.seeds(n), self.radii()
        points = [
            self.engine.along(self.direction, seed, side * eps * r)
            for seed, r in zip(seeds, radii, strict=True)
            for side in (1.0, -1.0)
        ]
        losses = self.engine.losses(objective, points)
        slopes = [(a - b) / (2 * eps) for a, b in zip(losses[::2], losses[1::2], strict=True)]
        return Estimate(
            seeds=seeds,
            coefficients=tuple(
                kernel(r, self.config.scale) * s / n for r, s in zip(radii, slopes, strict=True)
            ),
            losses=tuple(losses),
            loss=math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else math.nan,
            extras={f"radius_{i}": r for i, r in enumerate(radii)},
        )
