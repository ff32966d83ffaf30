"""HiZOO and HiZOO-L: SPSA preconditioned by a running diagonal curvature (arXiv 2402.15173).

H = 1 at the start, z ~ N(0, I), p = H^(-1/2) z
l_0 = L(theta), l+ = L(theta + eps p), l- = L(theta - eps p)
H' = (1 - alpha) H + alpha |l+ + l- - 2 l_0| / (2 eps^2) H z^2      (entry by entry)
theta <- theta - eta ([(l+ - l-) / (2 eps)] H'^(-1/2) z + wd theta)

As published, the step is measured with H and applied with H'. HiZOO-L stores row and column means of H per
matrix, H ~ r c^T / mean(r). 3 forward passes per step (the authors' code needs a fourth for the reported
loss).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Parameters, Positive, PositiveFraction, Rate
from zobench.zo.preconditioned import DiagonalCurvature, Scaled
from zobench.zo.updates import Decay, DecayRule, Sgd


@dataclass(frozen=True)
class HizooConfig(Parameters):
    """Parameters of HiZOO; defaults of the authors' README (with their script's alpha of 0 it is plain MeZO).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        alpha: share of a new curvature sample in H; above 0.
        weight_decay: coupled decay rate wd.
        decay_rule: tensors that decay: ``all``, as published; ``mezo``, ``mezo-roberta``,
            ``matrices``.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    alpha: PositiveFraction = 1e-8
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "all"


class Hizoo(ZerothOrder):
    """Diagonal-Hessian-informed SPSA."""

    Config = HizooConfig
    factored = False
    card = MethodCard(
        name="hizoo",
        title="HiZOO",
        source="arXiv 2402.15173",
        formula="H <- (1-a) H + a |l+ + l- - 2 l_0|/(2 eps^2) H z^2; theta <- theta - eta c z/sqrt(H)",
        order="zeroth",
        replay="scalars",
        notes="H is stored as its excess over 1 in float32. The authors store it in the weights' dtype, "
        "where float16 loses nearly all increments at alpha = 1e-8; their script's default alpha of 0 never "
        "changes it (refused here). There is no fourth forward pass. A refused step does not change H. "
        "Follows their code (Yanjun-Zhao/HiZOO@4f99055, read 2026-11-29).",
        decay="Coupled, theta <- theta - eta (c z / sqrt(H) + wd theta), on every tensor, as in the authors' "
        "code.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: HizooConfig) -> Cost:
        return Cost(3, 3, 4, 4)

    def make_direction(self) -> Direction:
        self.curvature = DiagonalCurvature(self.space, factored=self.factored)
        return Scaled(self.engine.gaussian(), self.curvature.inverse_root)

    def make_update(self) -> Sgd:
        return Sgd(Decay(self.config.weight_decay, self.config.decay_rule))

    def measure(self, objective: Objective) -> Estimate:
        (seed,), eps = self.seeds(1), self.smoothing()
        points = [(), *(self.engine.along(self.direction, seed, sign * eps) for sign in (1.0, -1.0))]
        base, plus, minus = self.engine.losses(objective, points)
        return Estimate(
            seeds=(seed,),
            coefficients=((plus - minus) / (2 * eps),),
            losses=(base, plus, minus),
            loss=base,
            extras={"curvature": abs(plus + minus - 2 * base) / eps**2},
        )

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        """Update H with the measured curvature, then theta along the new H^(-1/2) z."""
        self.engine.home()
        half = estimate.extras["curvature"] / 2
        for name in self.space:
            z = self.engine.gaussian().tensor(name, estimate.seeds[0])
            self.curvature.blend(
                name, z.square_().mul_(self.curvature.value(name)).mul_(half), self.config.alpha
            )
        self.updater.apply(self.engine, self.direction, estimate, lr)
        return {}

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "curvature": self.curvature}


class HizooL(Hizoo):
    """HiZOO with factored curvature."""

    factored = True
    card = MethodCard(
        name="hizoo-l",
        title="HiZOO-L",
        source="arXiv 2402.15173",
        formula="as HiZOO with H ~ r c^T / mean(r), r and c the running row and column means per matrix",
        order="zeroth",
        replay="scalars",
        notes="The factorization is Adafactor's (running means of rows and columns): the authors' exact form "
        "is not known. State is 4 (m + n) bytes per matrix; 4 per entry are declared, the case of vectors.",
        decay="As HiZOO's.",
        revision=2,
    )
