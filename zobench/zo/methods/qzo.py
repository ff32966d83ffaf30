"""QZO: MeZO on the scales of a quantized model, with a clipped directional derivative (arXiv 2505.13430).

c = clip((L(s + eps z) - L(s - eps z)) / (2 eps), -clip, clip),  s <- max(s - eta c z, floor)

s are the dequantization scales; the integers are frozen. 2n forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate


@dataclass(frozen=True)
class QzoConfig(Parameters):
    """Parameters of QZO; defaults of the paper and the authors' code.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        clip: maximum magnitude of a directional derivative.
        floor: minimum scale.
    """

    lr: Rate = 1e-7
    epsilon: Positive = 1e-3
    n: Count = 1
    clip: Positive = 100.0
    floor: Rate = 1e-7


class Qzo(ZerothOrder):
    """SPSA on quantization scales."""

    Config = QzoConfig
    card = MethodCard(
        name="qzo",
        title="QZO",
        source="arXiv 2505.13430",
        formula="s <- max(s - eta clip(c) z, floor), c the two-sided slope along the scales s",
        order="zeroth",
        replay="scalars",
        spaces=("scales", "conv-scales"),
        notes="The minimum scale is 0 in the paper and 1e-7 in the authors' code. Each of the n derivatives "
        "is clipped before averaging. With learning rate 0 the minimum is not applied. Perturbed scales may "
        "be negative, as in their code.",
    )

    @classmethod
    def cost(cls, config: QzoConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def measure(self, objective: Objective) -> Estimate:
        n, limit = self.config.n, self.config.clip
        estimate = two_sided(self.engine, objective, self.direction, self.seeds(n), self.smoothing())
        slopes = [c * n for c in estimate.coefficients]
        # NaN is passed on, so that the step is refused: min and max would replace it by the limit.
        clipped = tuple(c if c != c else min(max(c, -limit), limit) / n for c in slopes)
        return replace(estimate, coefficients=clipped, extras={f"slope_{i}": c for i, c in enumerate(slopes)})

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        extras = super().update(estimate, lr)
        floored = 0
        for name in self.space:
            values = self.space.entries(name)
            low = values < self.config.floor
            if lr != 0.0 and bool(low.any()):
                floored += int(low.sum())
                with self.engine.editing(name) as scales:
                    scales.copy_(torch.clamp_min(scales, self.config.floor))
        return {**extras, "floored": float(floored)}
