"""First-order baselines with coarser steps. They show how much a first-order method depends on its precision.

adam:            theta <- theta - eta m_hat / (sqrt(v_hat) + delta)
sign-sgd:        theta <- theta - eta sign(grad L)                                     (arXiv 1802.04434)
sign-adam:       m <- beta1 m + (1 - beta1) grad L;  theta <- theta - eta sign(m)
quantized-adam:  Adam whose first moment is kept at b bits, per block of entries       (arXiv 2110.02861)

The sign of Adam's step is the sign of its first moment, so that ``sign-adam`` needs no second moment. 3
forward passes per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from zobench.zo.arithmetic import add_scaled_, add_square_
from zobench.zo.base import Cost, MethodCard
from zobench.zo.methods.first_order import FirstOrder
from zobench.zo.parameters import Bounds, Count, FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.updates import Adam, Sign, Update


@dataclass(frozen=True)
class AdamConfig(Parameters):
    """Parameters of Adam, moments as in torch.

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
    """

    lr: Rate = 1e-5
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    delta: Positive = 1e-8


@dataclass(frozen=True)
class SignSgdConfig(Parameters):
    """Parameters of sign-SGD; the learning rate is a choice.

    Attributes:
        lr: step size eta of every entry.
    """

    lr: Rate = 1e-5


@dataclass(frozen=True)
class SignAdamConfig(Parameters):
    """Parameters of sign-Adam; the moment as in torch, the learning rate is a choice.

    Attributes:
        lr: step size eta of every entry.
        beta1: decay of the first moment.
    """

    lr: Rate = 1e-5
    beta1: FractionBelowOne = 0.9


@dataclass(frozen=True)
class QuantizedAdamConfig(AdamConfig):
    """Adam with a quantized first moment; moments as in torch, bits and learning rate are choices.

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        bits: bits per entry of the first moment between steps.
        block: number of entries that share a scale (2048 in the source).
    """

    bits: Annotated[int, Bounds(ge=2, le=8)] = 8
    block: Count = 2048


class SignOfMomentum(Update):
    """m <- beta m + (1 - beta) g; the step is sign(m)."""

    slots = ("first",)

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m = self.slot("first", name, gradient)
        return add_scaled_(m.mul_(self.beta), gradient, 1.0 - self.beta).sign()


def on_grid(values: torch.Tensor, bits: int, block: int) -> torch.Tensor:
    """``values`` rounded to 2^(bits-1) - 1 levels on either side of 0, with one scale per block of
    consecutive entries. Idempotent up to rounding of the scale."""
    top = 2 ** (bits - 1) - 1
    flat = torch.nn.functional.pad(values.reshape(-1), (0, -values.numel() % block)).view(-1, block)
    scale = flat.abs().amax(1, keepdim=True) / top
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    rounded = (flat / safe).round().clamp(-top, top) * scale
    return rounded.view(-1)[: values.numel()].view_as(values)


class CoarseAdam(Adam):
    """Adam whose first moment is quantized after every step. Quantization is simulated in float32."""

    def __init__(self, beta1: float, beta2: float, delta: float, bits: int, block: int) -> None:
        super().__init__(beta1, beta2, delta)
        self.bits, self.block = bits, block

    def step_for(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        m = self.slot("first", name, gradient)
        v = self.slot("second", name, gradient)
        add_scaled_(m.mul_(self.beta1), gradient, 1.0 - self.beta1)
        m.copy_(on_grid(m, self.bits, min(self.block, m.numel())))
        add_square_(v.mul_(self.beta2), gradient, 1.0 - self.beta2)
        first = m / (1.0 - self.beta1**self.count)
        return first / ((v / (1.0 - self.beta2**self.count)).sqrt_() + self.delta)


class PlainAdam(FirstOrder):
    """Adam without weight decay, by backpropagation."""

    Config = AdamConfig
    card = MethodCard(
        name="adam",
        title="Adam (first-order)",
        source="arXiv 1412.6980",
        formula="theta <- theta - eta * m_hat / (sqrt(v_hat) + delta)",
        order="first",
        replay="checkpoint",
        notes="AdamW without decay. A forward and backward pass together count as 3 forward passes.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: AdamConfig) -> Cost:
        return Cost(3, 3, 1, 8)

    def make_update(self) -> Update:
        c = self.config
        return Adam(c.beta1, c.beta2, c.delta)


class SignSgd(FirstOrder):
    """The sign of every gradient entry."""

    Config = SignSgdConfig
    card = MethodCard(
        name="sign-sgd",
        title="signSGD (first-order)",
        source="arXiv 1802.04434",
        formula="theta <- theta - eta * sign(grad L)",
        order="first",
        replay="checkpoint",
    )

    @classmethod
    def cost(cls, config: SignSgdConfig) -> Cost:
        return Cost(3, 3, 1, 0)

    def make_update(self) -> Update:
        return Sign()


class SignAdam(FirstOrder):
    """The sign of Adam's step."""

    Config = SignAdamConfig
    card = MethodCard(
        name="sign-adam",
        title="signAdam (first-order)",
        source="arXiv 2510.00761",
        formula="m <- ema(grad L); theta <- theta - eta * sign(m)",
        order="first",
        replay="checkpoint",
        fades=False,
        notes="Adam's step with one bit per entry. The second moment has no effect on the sign and is not "
        "stored.",
    )

    @classmethod
    def cost(cls, config: SignAdamConfig) -> Cost:
        return Cost(3, 3, 1, 4)

    def make_update(self) -> Update:
        return SignOfMomentum(self.config.beta1)


class QuantizedAdam(FirstOrder):
    """Adam with a quantized first moment."""

    Config = QuantizedAdamConfig
    card = MethodCard(
        name="quantized-adam",
        title="Adam with a quantized momentum (first-order)",
        source="arXiv 2110.02861",
        formula="m <- Q_b(ema(grad L)); theta <- theta - eta * m_hat / (sqrt(v_hat) + delta)",
        order="first",
        replay="checkpoint",
        notes="Linear rounding per block; the source's 8-bit optimizer uses a dynamic code. The second "
        "moment is not quantized. Quantization is simulated: the state needs as much memory as Adam's.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: QuantizedAdamConfig) -> Cost:
        return Cost(3, 3, 1, 8)

    def make_update(self) -> Update:
        c = self.config
        return CoarseAdam(c.beta1, c.beta2, c.delta, c.bits, c.block)
