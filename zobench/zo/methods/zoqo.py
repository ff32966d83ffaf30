"""ZOQO: sign steps on a quantization grid; the log of a step is one sign (arXiv 2501.06736).

s: the size of one level; m = max(floor(mu / s), 1), k = max(floor(eta / s), 1) levels
u_i uniform in {-m .. m} levels per coordinate
q = sign(L(clamp(w + u)) - L(clamp(w - u))),  w <- clamp(w - k q sign(u))

clamp keeps codes in [-top, top]. All arithmetic is on whole levels. With ``share`` below 1 only a random
share of the coordinates moves, the same in probe and step. 2 forward passes per step, no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate
from zobench.zo.integer import Levels, exact_only
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Parameters, Positive, PositiveFraction, Rate
from zobench.zo.source import NoiseSource


@dataclass(frozen=True)
class ZoqoConfig(Parameters):
    """Parameters of ZOQO. The paper's values are not known: lr and epsilon are MeZO's epsilon, so that both
    are one level on usual grids; the share is the paper's (all coordinates), which is destructive at 4 bits.

    Attributes:
        lr: step size eta, in units of the weight; at least one level is moved, none with 0.
        epsilon: largest displacement mu, in units of the weight; at least one level.
        share: share of the coordinates that a direction moves.
    """

    lr: Rate = 1e-3
    epsilon: Positive = 1e-3
    share: PositiveFraction = 1.0


class UniformLevels(Levels):
    """u uniform in {-m .. m} levels on a random share of the coordinates; moves are cut at the range."""

    def __init__(self, source: NoiseSource, epsilon: float, share: float) -> None:
        super().__init__(source)
        self.epsilon, self.share = epsilon, share

    def drawn(self, name: str, seed: int) -> torch.Tensor:
        """u before the range is applied."""
        self.source.drawn += self.space.size(name)
        m = levels(self.epsilon, self.codes.step(name)).to(self.now(name).dtype)
        draw = self.uniform(name, seed, "levels").to(m.dtype)
        u = torch.minimum((draw * (2 * m + 1)).floor() - m, m)
        if self.share == 1.0:
            return u
        kept = self.uniform(name, noise.derive_seed("kept", seed), "kept") < self.share
        return torch.where(kept, u, torch.zeros_like(u))

    def move(self, name: str, seed: int, sign: float) -> torch.Tensor:
        codes, top = self.now(name), self.codes.top
        return (codes + self.drawn(name, seed).mul_(sign)).clamp_(-top, top) - codes


def levels(length: float, step: torch.Tensor) -> torch.Tensor:
    """max(floor(length / step), 1)."""
    return (length / step).floor().clamp_min(1.0)


class Zoqo(ZerothOrder):
    """Quantized sign steps."""

    Config = ZoqoConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"share": 0.05}
    direction: UniformLevels
    card = MethodCard(
        name="zoqo",
        title="ZOQO",
        source="arXiv 2501.06736",
        formula="w <- clamp(w - k sign(L(clamp(w + u)) - L(clamp(w - u))) sign(u)), u in whole levels",
        order="zeroth",
        replay="scalars",
        spaces=("codes",),
        notes="By a formula note (2026-11-29); no code was found. The law of u is read as uniform, and s as "
        "the size of each group's level, in place of a tensor's range over its levels. A step moves "
        "every coordinate with u != 0 by at least one level, of length s sqrt(d); share is zobench's "
        "addition. The paper (abstract) claims results close to full-precision methods; on our boards "
        "this has not been measured.",
    )

    @classmethod
    def cost(cls, config: ZoqoConfig) -> Cost:
        return Cost(2, 2, 3, 0)

    def make_direction(self) -> UniformLevels:
        return UniformLevels(self.engine.source, self.config.epsilon, self.config.share)

    def measure(self, objective: Objective) -> Estimate:
        exact_only(self.engine, "zoqo")
        (seed,) = self.seeds(1)
        points = [self.engine.along(self.direction, seed, sign) for sign in (1.0, -1.0)]
        plus, minus = self.engine.losses(objective, points)
        sign = float((plus > minus) - (plus < minus))
        return Estimate((seed,), (sign,), (plus, minus), (plus + minus) / 2)

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        (seed,), (q,) = estimate.seeds, estimate.coefficients
        changed = 0
        for name in self.space if lr and q else ():
            step, top = self.direction.codes.step(name), self.direction.codes.top
            codes = self.direction.now(name)
            k = levels(lr, step).to(codes.dtype)
            moved = (codes - k * q * self.direction.drawn(name, seed).sign_()).clamp_(-top, top)
            changed += int((moved != codes).sum())
            with self.engine.editing(name) as theta:
                theta.copy_(moved)
        return {"changed_share": changed / self.space.numel}
