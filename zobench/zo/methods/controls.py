"""Baselines included in every table: no training, and random directions at MeZO's forward-pass cost.

``none`` spends no forward pass and never changes the weights: zero-shot and in-context leaderboard entries.
``random-direction`` spends MeZO's forward passes, draws MeZO's directions, and replaces every projected
gradient by a random number of the same size, so that no gain can come from the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from zobench.zo import noise
from zobench.zo.base import Cost, MethodCard, StepRecord
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import Method, ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind


@dataclass(frozen=True)
class NoneConfig:
    """No parameters."""


class NoTraining(Method):
    """The unchanged model."""

    Config = NoneConfig
    card = MethodCard(
        name="none",
        title="no training",
        source="zobench",
        formula="theta <- theta",
        order="none",
        replay="scalars",
        descent=False,
        notes="Costs no forward pass. Every step is recorded as refused with the reason 'no training'.",
    )

    @classmethod
    def cost(cls, config: NoneConfig) -> Cost:
        return Cost(0, 0, 0, 0)

    def learning_rate(self) -> float:
        return 0.0

    def step(self, objective: Objective) -> StepRecord:
        record = self.record(Estimate((), (), (), math.nan), 0.0, (0, 0), "no training", {})
        self.t += 1
        return record


@dataclass(frozen=True)
class RandomDirectionConfig(Parameters):
    """Parameters of the random-direction baseline; MeZO's defaults.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps of the measured pairs.
        n: directions per step.
        draw: ``sign`` (random sign, MeZO's magnitude) or ``normal`` (a normal number times MeZO's magnitude).
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    draw: Literal["sign", "normal"] = "sign"


class RandomDirection(ZerothOrder):
    """MeZO without information about the loss: same directions, same step lengths, random signs."""

    Config = RandomDirectionConfig
    card = MethodCard(
        name="random-direction",
        title="random direction",
        source="zobench",
        formula="theta <- theta - eta * mean_i r_i |c_i| z_i, r_i random",
        order="zeroth",
        replay="scalars",
        descent=False,
        in_span=True,
        notes="A baseline, not a method: c_i are MeZO's projected gradients, r_i is +-1 or N(0, 1).",
    )

    @classmethod
    def cost(cls, config: RandomDirectionConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def measure(self, objective: Objective) -> Estimate:
        seeds = self.seeds(self.config.n)
        estimate = two_sided(self.engine, objective, self.direction, seeds, self.smoothing())
        factors = self.factors(len(seeds))
        drawn = tuple(r * abs(c) for r, c in zip(factors, estimate.coefficients, strict=True))
        slopes = {f"slope_{i}": c for i, c in enumerate(estimate.coefficients)}
        return replace(estimate, coefficients=drawn, extras=slopes)

    def factors(self, n: int) -> list[float]:
        """The random numbers r_i of the coming step."""
        kind: NoiseKind = "rademacher" if self.config.draw == "sign" else "gaussian"
        seed = noise.derive_seed(self.seed, self.t, "random-direction")
        return noise.sample((n,), seed=seed, key=noise.tensor_key("random-direction"), kind=kind).tolist()
