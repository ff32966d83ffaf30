"""ZO-AdaMU: momentum inside the perturbation (arXiv 2312.15184), implemented from the paper.

z1 ~ N(0, alpha),  z2 ~ N(m, 1 - alpha)       (variances; m of the step before, 0 at the start)
m <- beta1 z1 + (1 - beta1) z2                 the measured perturbation
v  = beta2 z1^2 + (1 - beta2) z2^2
c  = (L(theta + eps m) - L(theta - eps m)) / (2 eps),  theta <- theta - eta c m / sqrt(v + delta)
the stored momentum is sign(c) m in the authors' code and m in the formula (``remembers``)

alpha, beta1, beta2 are annealed: 1 for t < warmup (new noise only), then
1/2 + 1/2 cos(pi/2 * phi * (t - warmup) / (steps - warmup)) with phi = 1, 0.1, 1.5, and 0.9 from
``late * steps`` on. 2 forward passes per step; one buffer (m), rebuilt by replay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from zobench.zo import noise
from zobench.zo.arithmetic import add_scaled_
from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, CountOrZero, Fraction, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only

PHASES = {"alpha": 1.0, "beta1": 0.1, "beta2": 1.5}


@dataclass(frozen=True)
class ZoAdamuConfig(Parameters):
    """Parameters of ZO-AdaMU; phases as in the authors' code, lr and epsilon MeZO's (theirs are for LoRA).

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        delta: added under the root of v.
        steps: number of steps of the run, for the annealing.
        warmup: number of steps with pure noise.
        late: share of the run after which alpha, beta1 and beta2 are 0.9.
        remembers: the momentum of the next step: ``signed`` (sign(c) m) or ``plain`` (m).
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    delta: Positive = 1e-8
    steps: Count = 20000
    warmup: CountOrZero = 1024
    late: Fraction = 0.8
    remembers: Literal["signed", "plain"] = "signed"


class Simulated(Direction):
    """m(seed) = beta1 z1 + (1 - beta1) z2, with the momentum of the step before as mean of z2 and the
    annealed values of the current step."""

    def __init__(self, inner: Direction, annealed: Callable[[str, int], float]) -> None:
        super().__init__(inner.source)
        self.inner, self._annealed = inner, annealed
        self.mean: dict[str, torch.Tensor] = {}
        self.now = {key: annealed(key, 0) for key in PHASES}

    def refresh(self, step: int) -> None:
        self.now = {key: self._annealed(key, step) for key in PHASES}

    def pair(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """z1 and z2 of one tensor."""
        first = self.inner.tensor(name, seed).mul_(math.sqrt(self.now["alpha"]))
        second = self.mean[name].to(first.dtype) if name in self.mean else torch.zeros_like(first)
        spread = math.sqrt(1.0 - self.now["alpha"])
        if spread:
            second = second.clone()
            self.inner.add_(second, name, noise.derive_seed("around-momentum", seed), spread)
        return first, second

    def simulated(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """m and v of one tensor."""
        b1, b2 = self.now["beta1"], self.now["beta2"]
        first, second = self.pair(name, seed)
        return b1 * first + (1 - b1) * second, b2 * first.square() + (1 - b2) * second.square()

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        m = self.simulated(name, seed)[0]
        tensor.copy_(m.mul_(scale).add_(tensor.to(m.dtype)))

    def state_dict(self) -> dict[str, Any]:
        return {name: m.clone() for name, m in self.mean.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean = {name: m.clone() for name, m in state.items()}


class ZoAdamu(ZerothOrder):
    """SPSA along a simulated momentum, divided by a simulated second moment."""

    Config = ZoAdamuConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"steps": 1000, "warmup": 20}
    card = MethodCard(
        name="zo-adamu",
        title="ZO-AdaMU",
        source="arXiv 2312.15184",
        formula="theta <- theta - eta c m / sqrt(v + delta), m = beta1 z1 + (1-beta1) z2, z2 around the "
        "last m",
        order="zeroth",
        replay="scalars",
        notes="By the paper's formula: the authors' code (MathIsAll/ZO-AdaMU@d5f7de2, read 2026-11-29) "
        "perturbs with fixed 0.1/0.9 weights and updates with the annealed ones, so that what is "
        "measured is not applied. It remembers sign(c) m, the default here; which momentum the paper "
        "means is not settled (remembers: plain for m). sqrt(alpha) is read as the standard "
        "deviation. v has no memory in the formula (a function of the step's two draws), so the state "
        "is m alone. The annealing formula is only partly known. A tie remembers 0; m does not move "
        "on a refused step.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: ZoAdamuConfig) -> Cost:
        return Cost(2, 2, 6, 4)

    def make_direction(self) -> Simulated:
        counter_only(self.engine, "zo-adamu")
        return Simulated(self.engine.gaussian(), self.annealed)

    def annealed(self, key: str, step: int) -> float:
        """alpha, beta1 or beta2 of a step."""
        c = self.config
        if step < c.warmup:
            return 1.0
        if step >= c.late * c.steps:
            return 0.9
        share = (step - c.warmup) / max(1, c.steps - c.warmup)
        return 0.5 + 0.5 * math.cos(math.pi / 2 * PHASES[key] * share)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(1), self.smoothing())

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        (seed,), (slope,) = estimate.seeds, estimate.coefficients
        direction = self.direction
        assert isinstance(direction, Simulated)
        self.engine.home()
        for name in self.space:
            m, v = direction.simulated(name, seed)
            if lr != 0.0:
                step = m / v.add_(self.config.delta).sqrt_()
                with self.engine.editing(name) as theta:
                    add_scaled_(theta, step, -lr * slope)
            flipped = self.config.remembers == "signed"
            direction.mean[name] = m.mul_(math.copysign(1.0, slope) if slope else 0.0) if flipped else m
        return {}

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "mean": self.direction}
