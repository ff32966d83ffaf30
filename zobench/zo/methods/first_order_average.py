"""First-order baselines for flat minima: averaged weights, and a penalty on curvature.

weight-averaging:   Adam on theta; the model is the running mean of the weights of every ``every``-th step,
                    beginning with step ``start``                                      (arXiv 1803.05407)
curvature-penalty:  g + rho grad ||H v||, v = g/||g|| held fixed, by three differences of gradients:
                    h(x) = (grad L(x + mu v) - grad L(x - mu v)) / (2 mu) = H(x) v,  w = h/||h||;
                    grad ||H v|| = [g(+mu v, +mu w) - g(+mu v, -mu w) - g(-mu v, +mu w) + g(-mu v, -mu w)]
                    / (4 mu^2), the third derivative in v and w                        (arXiv 1811.09716)

The gradient of the penalty is included here; in the released unlearning code the penalty is a constant
without gradient (arXiv 2502.05374 describes both as baselines). 3 and 21 forward passes per step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.zo.base import Cost, MethodCard, StepRecord
from zobench.zo.engine import Engine
from zobench.zo.methods.first_order import FirstOrder
from zobench.zo.methods.first_order_signs import AdamConfig
from zobench.zo.methods.first_order_smooth import LossAndGradient, gradient_at
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, CountOrZero, Positive
from zobench.zo.space.base import ParameterSpace
from zobench.zo.updates import Adam, Update


@dataclass(frozen=True)
class AveragingConfig(AdamConfig):
    """Adam whose weights are averaged (scripts of Unlearn-Smooth: from step 100, every 5).

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        start: number of steps before averaging begins; until then the model is theta itself.
        every: number of steps between two averaged snapshots.
    """

    start: CountOrZero = 100
    every: Count = 5


@dataclass(frozen=True)
class CurvatureConfig(AdamConfig):
    """Adam on the loss with a penalty on its curvature along the gradient; moments as in torch, the others
    are choices.

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        rho: weight of ||H v||.
        mu: distance of the differences.
    """

    rho: Positive = 0.1
    mu: Positive = 1e-2


class WeightAveraging(FirstOrder):
    """Adam with averaged weights. Between steps, the space holds the mean; the trained weights are state."""

    Config = AveragingConfig
    config: AveragingConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"start": 2, "every": 2}
    card = MethodCard(
        name="weight-averaging",
        title="Weight averaging (first-order)",
        source="arXiv 1803.05407",
        formula="theta <- Adam(theta); the model is the mean of every k-th theta from step s on",
        order="first",
        replay="checkpoint",
        notes="The average is held fixed between snapshots; the first snapshot replaces theta.",
        revision=2,
    )

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.trained: dict[str, torch.Tensor] = {}
        self.seen = 0

    @classmethod
    def cost(cls, config: AveragingConfig) -> Cost:
        return Cost(3, 3, 1, 12)

    def make_update(self) -> Update:
        c = self.config
        return Adam(c.beta1, c.beta2, c.delta)

    @torch.no_grad()
    def step(self, objective: Objective) -> StepRecord:
        mean = self.space.snapshot() if self.trained else {}
        if self.trained:
            self.space.restore(self.trained)
        record = super().step(objective)
        done = record.step + 1 - self.config.start
        if done < 1:
            return record
        self.trained = self.space.snapshot()
        if record.moved and (done - 1) % self.config.every == 0:
            self.seen += 1
            mean = self._joined(mean) if mean else self.trained
        self.space.restore(mean or self.trained)
        return record

    def _joined(self, mean: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The running mean after one more snapshot: mean + (theta - mean) / n."""
        return {n: m + ((self.trained[n] - m) / self.seen).to(m.dtype) for n, m in mean.items()}

    def state_dict(self) -> dict[str, Any]:
        kept = {f"trained/{n}": t.clone() for n, t in self.trained.items()}
        return {**super().state_dict(), "seen": self.seen, **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        own = {k.removeprefix("trained/"): v.clone() for k, v in state.items() if k.startswith("trained/")}
        self.trained, self.seen = own, int(state["seen"])
        rest = {k: v for k, v in state.items() if k != "seen" and not k.startswith("trained/")}
        super().load_state_dict(rest)


class CurvaturePenalty(FirstOrder):
    """L + rho ||H v||, including the gradient of the penalty."""

    Config = CurvatureConfig
    config: CurvatureConfig
    card = MethodCard(
        name="curvature-penalty",
        title="Curvature penalty (first-order)",
        source="arXiv 1811.09716",
        formula="Adam on g + rho grad ||H v||, v = g/||g||",
        order="first",
        replay="checkpoint",
        notes="Hessian and third derivative are central differences of gradients.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: CurvatureConfig) -> Cost:
        return Cost(21, 21, 7, 8)

    def make_update(self) -> Update:
        c = self.config
        return Adam(c.beta1, c.beta2, c.delta)

    def measured(self, objective: Objective) -> LossAndGradient:
        loss, grads = objective.gradient(self.space.tensors)
        mu, v = self.config.mu, self._unit({n: self.tuned(n, g) for n, g in grads.items()})
        ahead, behind = (self._at(objective, v, s * mu) for s in (1, -1))
        w = self._unit({n: self.tuned(n, ahead[n] - behind[n]) for n in ahead})
        total = {n: torch.zeros_like(g) for n, g in grads.items()}
        for a in (1, -1):
            for b in (1, -1):
                found = self._at(objective, {n: a * v[n] + b * w[n] for n in v}, mu)
                for n, g in found.items():
                    total[n] += a * b * g
        weight = self.config.rho / (4 * mu**2)
        return loss, {n: g + weight * total[n] for n, g in grads.items()}

    def _at(
        self, objective: Objective, move: Mapping[str, torch.Tensor], scale: float
    ) -> Mapping[str, torch.Tensor]:
        return gradient_at(self.space, objective, lambda n: move[n], scale)[1]

    def _unit(self, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``values`` divided by their Euclidean norm over the tuned entries; zero stays zero."""
        squares = (float(t.double().square().sum()) for t in values.values())
        length = math.sqrt(math.fsum(squares))
        scale = 1 / length if length > 0 and math.isfinite(length) else 0.0
        return {n: t * scale for n, t in values.items()}
