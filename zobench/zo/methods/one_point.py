"""One forward pass per step: residual feedback and the classic one-point form (arXiv 2508.12228, 2006.10820).

residual: c_t = (L_t(theta_t + eps u_t) - L_{t-1}(theta_{t-1} + eps u_{t-1})) / eps
classic:  c_t = L_t(theta_t + eps u_t) / eps     (Flaxman, Kalai, McMahan 2005)
theta <- theta - eta c_t u_t,  u_t ~ N(0, I)

For fixed theta, both estimate the gradient of the smoothed loss without bias. The variance of the classic
form is proportional to L^2 d / eps^2; the residual form replaces L by a difference of losses, each on the
minibatch of its step. The first residual step only measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, one_point_residual
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Parameters, Positive, Rate


@dataclass(frozen=True)
class OnePointConfig(Parameters):
    """Parameters of the one-point methods; eta at the low end of MeZO's grid and ten times its eps, because
    the variance falls with eps. The papers' values for language models are not known.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        form: ``residual`` or ``classic``.
    """

    lr: Rate = 1e-7
    epsilon: Positive = 1e-2
    form: Literal["residual", "classic"] = "residual"


class OnePoint(ZerothOrder):
    """SGD on a one-point estimate."""

    Config = OnePointConfig
    card = MethodCard(
        name="one-point",
        title="One-point feedback",
        source="arXiv 2508.12228, 2006.10820",
        formula="theta <- theta - eta [(L_t(theta_t+eps u_t) - L_{t-1}(theta_{t-1}+eps u_{t-1})) / eps] u_t",
        order="zeroth",
        replay="scalars",
        in_span=True,
        notes="The residual form is that of MeZO's appendix (Zhang et al. 2022, arXiv 2006.10820); of "
        "2508.12228 only the title is known. Unbiased at fixed theta but not declared so: the "
        "variance is not that of independent two-point estimates. MeZO's table on RoBERTa-large has "
        "it 3 to 35 points below SPSA at equal steps. After a non-finite loss the next step only "
        "measures. 'classic' moves on a constant loss.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.previous: float | None = None

    @classmethod
    def cost(cls, config: OnePointConfig) -> Cost:
        return Cost(1, 1, 2, 0)

    def measure(self, objective: Objective) -> Estimate:
        (seed,) = self.seeds(1)
        previous = self.previous if self.config.form == "residual" else 0.0
        return one_point_residual(self.engine, objective, self.direction, seed, self.smoothing(), previous)

    def after(self, estimate: Estimate, moved: bool) -> None:
        self.previous = estimate.loss if math.isfinite(estimate.loss) else None

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "previous": [] if self.previous is None else [self.previous]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.previous = next(iter(state["previous"]), None)
