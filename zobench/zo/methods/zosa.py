"""ZOSA: a sharpness-aware step from two one-sided Rademacher estimates (arXiv 2511.09156).

at theta:   l_0, l_i = L(theta + eps u_i), u_i in {-1, 1}^d, i = 1..m
            g = (1 / (eps m)) sum_i (l_i - l_0) u_i,  sigma = sample standard deviation of the l_i
ascent:     theta' = theta + rho g / sigma (theta' = theta where sigma = 0)
at theta':  g', sigma' in the same way with new u'_i
update:     theta <- theta - eta g' / sigma'

2 (m + 1) forward passes per step. While losses at theta' are measured, g is stored as tensors (one float32
copy of the tuned tensors within a step, none between steps). If g were rebuilt from its seeds, each of these
losses would need m more noise sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, dense, one_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.fzoo import spread
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Parameters, Positive, Rate
from zobench.zo.perturb import Displaced, Shift


@dataclass(frozen=True)
class ZosaConfig(Parameters):
    """Parameters of ZOSA; n and eps are FZOO's, lr and rho are choices. The paper's values are not known.

    Attributes:
        lr: step size eta of the normalized step.
        epsilon: smoothing radius eps.
        n: directions per estimate (m), at least 2.
        rho: radius of the ascent, in units of g / sigma.
        step_scale: standard deviation that divides the step: ``second`` (sigma' at the ascent point) or
            ``first`` (sigma at theta).
    """

    lr: Rate = 1e-8
    epsilon: Positive = 1e-3
    n: Annotated[int, Bounds(ge=2)] = 8
    rho: Rate = 1e-7
    step_scale: Literal["second", "first"] = "second"


class Zosa(ZerothOrder):
    """Zeroth-order sharpness-aware minimization."""

    Config = ZosaConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"n": 4}
    card = MethodCard(
        name="zosa",
        title="ZOSA",
        source="arXiv 2511.09156",
        formula="theta' = theta + rho g/sigma; theta <- theta - eta g'/sigma', g' and sigma' at theta'",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="Stage one and the ascent are the paper's (notes and a review of it, 2026-11-29; no code is "
        "public). The step is divided by a spread of the losses; whether by that of the first or of "
        "the second estimate is not settled by the sources: a review names the first for the learning "
        "rate as well (step_scale: first). lr and rho for full-parameter runs are choices: the "
        "entries of g / sigma are near 1 / (eps sqrt(m)), so both carry that scale. Mode 'in-place' "
        "is refused: the ascent is not a single seed.",
    )

    @classmethod
    def cost(cls, config: ZosaConfig) -> Cost:
        n = config.n
        return Cost(2 * (n + 1), 2 * (n + 1), 4 * n, 0)

    def make_direction(self) -> Direction:
        return self.engine.rademacher()

    def measure(self, objective: Objective) -> Estimate:
        c, eps = self.config, self.smoothing()
        first = one_sided(self.engine, objective, self.direction, self.seeds(c.n), eps)
        spread_first = spread(list(first.losses[1:]), population=False)
        ascent = self._ascent(first, spread_first, objective.recorded)
        seeds = self.seeds(c.n, "ascent")
        points = [ascent, *((*ascent, *self.engine.along(self.direction, s, eps)) for s in seeds)]
        base, *losses = self.engine.losses(objective, points)
        spread_second = spread(losses, population=False)
        sigma = spread_second if c.step_scale == "second" else spread_first
        scale = c.n * eps * sigma
        return Estimate(
            seeds=seeds,
            coefficients=tuple((loss - base) / scale if scale else 0.0 for loss in losses),
            losses=(*first.losses, base, *losses),
            loss=first.loss,
            extras={"sigma": spread_first, "sigma_ascent": spread_second},
            reason="zero spread of the losses" if sigma == 0.0 else "",
        )

    def _ascent(self, first: Estimate, sigma: float, recorded: bool) -> tuple[Shift, ...]:
        """rho g / sigma as a displacement; empty if sigma is 0 or a loss is not finite, and in a replay."""
        if recorded or not sigma > 0.0 or self.config.rho == 0.0 or first.refusal():
            return ()
        moves = {name: dense(self.direction, first, name) for name in self.space}
        return (Displaced(moves, self.config.rho / sigma),)
