"""CSAM: SAM with less weight on confident examples in the descent step, for calibration (arXiv 2505.23866).

at theta:    g = grad L(theta);  theta~ = theta + rho g/||g||
per example: p~ = probability of the true label at theta~ = exp(-l~), l~ the example's loss there
             c(l~) = l~                        where p~ <= 1/2
                     (1 + p~)^-gamma l~        otherwise,   0 <= gamma <= 2
update:      Adam on grad_theta~ mean_i c(l~_i), including the derivative of the factor; gamma = 0 is SAM.

With H the binary entropy and lambda = (1 - p~)/(1 - p), the paper bounds c(l~) from below by
l - lambda H(p) + (1 - gamma/2) H(p~): a higher gamma gives more weight to the implicit reward of entropy at
theta. 6 forward passes per step.

Source of the formula: a public reading note of the ICLR 2026 paper (its code is not published, and the paper
itself was not available). Rationale: this choice implies the bound above, which a test checks. An item is an
example, or an answer token if the loss is over tokens. If only the loss of the whole minibatch is known, p~
is the geometric mean of its probabilities, which is the paper's case of m examples per perturbation. The
paper's base optimizers are SGD with momentum and AdamW; here it is Adam, as for ``sam``, so that both methods
differ in c and rho only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from zobench.zo.base import Cost, MethodCard
from zobench.zo.methods.first_order_smooth import Looking, LossAndGradient, SamConfig
from zobench.zo.objective import Objective
from zobench.zo.parameters import Bounds, Positive
from zobench.zo.space.base import ParameterSpace


@dataclass(frozen=True)
class CsamConfig(SamConfig):
    """Adam on CSAM's gradient; rho as in the paper (0.05, or 0.2 on CIFAR-100 and for ViT).

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        rho: distance of the ascent point.
        gamma: exponent that reduces the weight of confident examples, 0 (SAM) to 2 (the paper chooses from
            0.5, 1, 2).
    """

    rho: Positive = 0.05
    gamma: Annotated[float, Bounds(ge=0, le=2)] = 1.0


def tempered(losses: torch.Tensor, gamma: float) -> torch.Tensor:
    """c(l) of every loss. A loss below 0 is treated as probability 1."""
    p = (-losses).exp().clamp(max=1.0)
    return torch.where(p > 0.5, (1 + p) ** -gamma * losses, losses)


class Csam(Looking):
    """SAM with less weight on confident examples."""

    Config = CsamConfig
    card = MethodCard(
        name="csam",
        title="CSAM (first-order)",
        source="arXiv 2505.23866",
        formula="Adam on grad mean c(l) at theta + rho g/||g||; c(l) = (1 + e^-l)^-gamma l if e^-l > 1/2",
        order="first",
        replay="checkpoint",
        notes="Formula from a reading note of the paper. If single losses are not known, l is the "
        "minibatch's loss.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: CsamConfig) -> Cost:
        return Cost(6, 6, 3, 8)

    def measured(self, objective: Objective) -> LossAndGradient:
        loss, grads = objective.gradient(self.space.tensors)

        def descent(objective: Objective, space: ParameterSpace) -> LossAndGradient:
            return objective.reshaped_gradient(space.tensors, lambda ls: tempered(ls, self.config.gamma))

        return loss, self.uphill(objective, grads, self.config.rho, descent)[1]
