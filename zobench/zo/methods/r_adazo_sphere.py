"""R-AdaZO as in "Downgrade to upgrade" (arXiv 2510.00761): central differences along directions of a sphere.

u_i uniform on the sphere of radius sqrt(d), d the number of tuned entries
g = (1/n) sum_i [(L(theta + eps u_i) - L(theta - eps u_i)) / (2 eps)] u_i
m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) m^2
theta <- theta - eta m / (sqrt(v) + zeta)   (or sqrt(v + zeta), see r-adazo)

The notes on the paper draw u from the unit sphere. Without the factor sqrt(d) the estimate is d times too
small; the division by sqrt(v) hides this as long as zeta is small compared with sqrt(v). 2n forward passes
per step and 4n sweeps, one of them per direction for its length; two float32 moments per tuned entry, rebuilt
by replay.
"""

from __future__ import annotations

from dataclasses import dataclass

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction, Sphere
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.methods.r_adazo import RAdazoConfig, RefinedAdam
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count


@dataclass(frozen=True)
class RAdazoSphereConfig(RAdazoConfig):
    """Parameters of R-AdaZO with central differences; the paper's own values were not available.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps; losses are queried at a distance of eps sqrt(d).
        n: directions per step (q).
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        zeta: constant that keeps the denominator positive.
        root: zeta ``outside`` or ``inside`` the root.
    """

    n: Count = 1


class RAdazoSphere(ZerothOrder):
    """R-AdaZO's update with central differences along directions of a sphere."""

    Config = RAdazoSphereConfig
    card = MethodCard(
        name="r-adazo-sphere",
        title="AdaZO (sphere)",
        source="arXiv 2510.00761, 2502.01014",
        formula="g = mean_i [(L(theta+eps u_i) - L(theta-eps u_i)) / 2 eps] u_i, ||u_i|| = sqrt(d); "
        "m <- ema(g), v <- ema(m^2); theta <- theta - eta m / (sqrt(v) + zeta)",
        order="zeroth",
        replay="scalars",
        unbiased=True,
        notes="The gradient estimate is unbiased, the update (R-AdaZO's) is not. The unit sphere in the "
        "notes on the paper is scaled by sqrt(d), so that E[u u^T] = I.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: RAdazoSphereConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 4 * config.n, 8)

    def make_direction(self) -> Direction:
        return Sphere(self.engine.source)

    def make_update(self) -> RefinedAdam:
        return RefinedAdam(self.config)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())
