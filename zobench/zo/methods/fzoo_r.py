"""FZOO-R: FZOO with half the perturbations and the standard deviation over two steps (arXiv 2506.09034).

l_0 = L(theta_t), l_i = L(theta_t + eps u_i), u_i in {-1, 1}^d, i = 1..N/2
sigma = standard deviation of the N/2 losses l_i and the N/2 perturbed losses of the step before
paper: theta <- theta - eta / (eps (N/2) sigma) sum_i (l_i - l_0) u_i     (divisor of sigma^2: N - 1)
code:  theta <- theta - eta / ((N/2) sigma) sum_i (l_i - l_0) u_i         (divisor of sigma^2: N)

N/2 + 1 forward passes per step. In the first step, sigma uses the losses of this step only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.fzoo import FzooConfig, spread
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds


@dataclass(frozen=True)
class FzooRConfig(FzooConfig):
    """Parameters of FZOO-R; defaults of FZOO.

    Attributes:
        lr: step size eta, in the convention of ``step_size``.
        epsilon: smoothing radius eps.
        n: number of losses in sigma (N), even and at least 4; half of them are new in each step.
        step_size: ``code`` (no 1/eps, population standard deviation) or ``paper``.
    """

    n: Annotated[int, Bounds(ge=4)] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n % 2:
            raise ValueError(f"n must be even, not {self.n}")


class FzooR(ZerothOrder):
    """FZOO that reuses the losses of the step before."""

    Config = FzooRConfig
    card = MethodCard(
        name="fzoo-r",
        title="FZOO-R",
        source="arXiv 2506.09034",
        formula="theta <- theta - eta / ((N/2) sigma [eps]) * sum_i (l_i - l_0) u_i, sigma over two steps",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="In the authors' code this branch never runs, because the losses it needs are never stored. "
        "The implementation follows the description: sigma over the perturbed losses of both steps, without "
        "centering, hence larger when the minibatch changes. Losses of a step with a non-finite loss are "
        "not stored.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.previous: tuple[float, ...] = ()

    @classmethod
    def cost(cls, config: FzooRConfig) -> Cost:
        half = config.n // 2
        return Cost(half + 1, half + 1, 2 * half, 0)

    def make_direction(self) -> Direction:
        return self.engine.rademacher()

    def measure(self, objective: Objective) -> Estimate:
        seeds, eps = self.seeds(self.config.n // 2), self.smoothing()
        points = [(), *(self.engine.along(self.direction, seed, eps) for seed in seeds)]
        base, *losses = self.engine.losses(objective, points)
        paper = self.config.step_size == "paper"
        sigma = spread([*self.previous, *losses], population=not paper)
        scale = len(seeds) * sigma * (eps if paper else 1.0)
        return Estimate(
            seeds=seeds,
            coefficients=tuple((loss - base) / scale if scale else 0.0 for loss in losses),
            losses=(base, *losses),
            loss=base,
            extras={"sigma": sigma},
            reason="zero spread of the losses" if sigma == 0.0 else "",
        )

    def after(self, estimate: Estimate, moved: bool) -> None:
        losses = estimate.losses[1:]
        self.previous = losses if all(map(math.isfinite, losses)) else ()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "previous": list(self.previous)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.previous = tuple(state["previous"])
