"""QuZO: SPSA on integer codes with two independent roundings of every direction (arXiv 2502.12346).

z_i ~ N(0, I); u_i = SR(sigma z_i), v_i = SR'(sigma z_i): independent stochastic roundings to whole levels
mu_i = (L(w + u_i) - L(w - u_i)) / (2 sigma)
w <- w - sum_i SR''(eta mu_i v_i / (sigma n)),  moves that leave the range are dropped

E[u v^T] = sigma^2 z z^T, so that rounding does not bias the estimate; with u = v it would, by the variance of
the rounding. All weights stay integer codes. 2n forward passes per step, no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate
from zobench.zo.integer import RoundedNoise, dropped, exact_only, stochastic_levels
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class QuzoConfig(Parameters):
    """Parameters of QuZO. The paper's values are not known: all are choices, one direction as in MeZO.

    Attributes:
        lr: step size eta, in levels.
        sigma: standard deviation of the directions in levels (the smoothing radius).
        n: directions per step.
    """

    lr: Rate = 1e-3
    sigma: Positive = 0.1
    n: Count = 1


class Quzo(ZerothOrder):
    """Two-sided differences and updates in whole levels."""

    Config = QuzoConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"sigma": 0.3, "lr": 0.3}
    direction: RoundedNoise
    card = MethodCard(
        name="quzo",
        title="QuZO",
        source="arXiv 2502.12346",
        formula="mu = (L(w + u) - L(w - u)) / (2 sigma); w <- w - SR(eta mu v / sigma); u, v round sigma z",
        order="zeroth",
        replay="scalars",
        spaces=("codes",),
        notes="By a formula note and a re-implementation (dibbla/Quantized-Evolution-Strategies@fefc735, "
        "read 2026-11-29); the authors' code could not be obtained. Noise is rounded to whole levels "
        "of the weights (the paper's bits of u are not known). Where sigma is far below one level, "
        "almost all moves are 0. The estimate's direction in records is u, the applied one v. The "
        "paper (abstract) claims better INT8 and INT4 training than first-order methods at 2.9 to 5.5 "
        "times less memory; on our boards this has not been measured.",
    )

    @classmethod
    def cost(cls, config: QuzoConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def smoothing(self) -> float:
        return float(self.config.sigma)

    def make_direction(self) -> RoundedNoise:
        self.second = RoundedNoise(self.engine.source, self.config.sigma, "second-rounding")
        return RoundedNoise(self.engine.source, self.config.sigma)

    def measure(self, objective: Objective) -> Estimate:
        exact_only(self.engine, "quzo")
        seeds, sigma = self.seeds(self.config.n), self.config.sigma
        points = [self.engine.along(self.direction, s, sign) for s in seeds for sign in (1.0, -1.0)]
        return slopes(self.engine.losses(objective, points), seeds, sigma)

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        self.engine.home()
        changed = 0
        for name in self.space:
            codes = self.second.now(name).clone()
            before = codes.clone()
            for seed, slope in zip(estimate.seeds, estimate.coefficients, strict=True):
                step = self.second.rounded(name, seed).mul_(-lr * slope / self.config.sigma)
                draw = self.second.uniform(name, noise.derive_seed("step", seed), "step")
                moves = stochastic_levels(step, draw.to(step.dtype))
                codes.add_(dropped(codes, moves, self.second.codes.top))
            moved = int((codes != before).sum())
            if lr != 0.0 and moved:
                changed += moved
                with self.engine.editing(name) as theta:
                    theta.copy_(codes)
        return {"changed_share": changed / self.space.numel}


def slopes(losses: list[float], seeds: tuple[int, ...], radius: float) -> Estimate:
    """The estimate of pairs of losses at displacements of a fixed radius: slopes over n."""
    pairs = zip(losses[::2], losses[1::2], strict=True)
    n = len(seeds)
    coefficients = tuple((plus - minus) / (2 * radius * n) for plus, minus in pairs)
    return Estimate(seeds, coefficients, tuple(losses), sum(losses) / len(losses))
