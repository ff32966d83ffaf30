"""ZeroQAT: quantization-aware training by MeZO on both weights and quantizer parameters (arXiv 2509.00031).

w = (weights, smoothing scale and shift, steps and zero-points of the quantizers),  z_i ~ N(0, s_i^2)
c = (L(w + eps z) - L(w - eps z)) / (2 eps) through the quantizer,  w <- w - eta c z

s_i is 1 for weights and ``quantizer_scale`` for all other parameters, in both probe and update. The method
needs the parameter space ``fake-quant``, which quantizes weights and, with ``activations`` bits, activations.
2n forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.directions import Direction
from zobench.zo.estimators import Estimate, two_sided
from zobench.zo.method import ZerothOrder
from zobench.zo.objective import Objective
from zobench.zo.parameters import Count, Parameters, Positive, Rate
from zobench.zo.sparse import counter_only

POSITIVE = ("step", "smooth", "act_step")
QUANTIZER = ("smooth", "shift", "step", "zero", "act_step", "act_zero")


@dataclass(frozen=True)
class ZeroqatConfig(Parameters):
    """Parameters of ZeroQAT; lr and epsilon are MeZO's, the quantizer's scale is a choice. The paper's values
    are not known.

    Attributes:
        lr: step size eta.
        epsilon: smoothing radius eps.
        n: directions per step.
        quantizer_scale: standard deviation of the direction on quantizer parameters.
        floor: minimum of quantizer steps and smoothing scales.
    """

    lr: Rate = 1e-6
    epsilon: Positive = 1e-3
    n: Count = 1
    quantizer_scale: Positive = 0.1
    floor: Positive = 1e-7


class ByRole(Direction):
    """Standard noise on weights, ``scale`` times standard noise on quantizer parameters."""

    def __init__(self, inner: Direction, scale: float) -> None:
        super().__init__(inner.source)
        self.inner, self.scale = inner, scale

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        role = name.rpartition(".")[2]
        self.inner.add_(tensor, name, seed, scale * (self.scale if role in QUANTIZER else 1.0))


class Zeroqat(ZerothOrder):
    """SPSA through a quantizer that is tuned together with the weights."""

    Config = ZeroqatConfig
    card = MethodCard(
        name="zeroqat",
        title="ZeroQAT",
        source="arXiv 2509.00031",
        formula="(w, quantizer) <- (w, quantizer) - eta c z, c the two-sided slope through the quantizer",
        order="zeroth",
        replay="scalars",
        spaces=("fake-quant",),
        notes="Withdrawn submission; no code and no hyper-parameters were found. Values are clipped to the "
        "range of the codes, from -zero * step to (2^b - 1 - zero) * step: clipping is tuned through step "
        "and zero, without parameters of its own. Activation quantizers are an option of the space (off by "
        "default), with one step and zero-point per layer. The light variant is selected by the space's "
        "targets. Steps and smoothing scales have a minimum (zobench's choice).",
    )

    @classmethod
    def cost(cls, config: ZeroqatConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3 * config.n, 0)

    def make_direction(self) -> ByRole:
        counter_only(self.engine, "zeroqat")
        return ByRole(self.engine.gaussian(), self.config.quantizer_scale)

    def measure(self, objective: Objective) -> Estimate:
        return two_sided(self.engine, objective, self.direction, self.seeds(self.config.n), self.smoothing())

    def update(self, estimate: Estimate, lr: float) -> dict[str, float]:
        extras = super().update(estimate, lr)
        # Divisors must stay positive. Tensors without a value below the floor are not opened: writing them
        # would round half-precision weights once more.
        for name in self.space:
            low = self.space.entries(name) < self.config.floor
            if lr != 0.0 and name.rpartition(".")[2] in POSITIVE and bool(low.any()):
                with self.engine.editing(name) as values:
                    values.copy_(torch.clamp_min(values, self.config.floor))
        return extras
