"""BLUR: the retain gradient made orthogonal to the forget gradient. First order only.

    g = g_f + alpha (g_r - <g_f, g_r>/||g_f||^2 g_f)

over all tuned parameters together. This direction is not the gradient of a scalar. Source: arXiv
2506.08164."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from zobench.parameters import Rate
from zobench.unlearning.base import Batch, Card, Constants, Context, UnlearningMethod
from zobench.unlearning.objectives.representation import Rmu, RmuConfig

NamedGradient = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class BlurConfig(RmuConfig):
    """Parameters of BLUR on RMU's two terms, with the authors' weights."""

    c: float = 6.5
    alpha: Rate = 800.0


class Blur(UnlearningMethod):
    """Two losses (:meth:`losses`, RMU's) whose gradients :meth:`combine` combines.

    Cost: 2 forward passes, and 1 of the reference per minibatch."""

    Config = BlurConfig
    config: BlurConfig
    card = Card(
        "blur",
        "Bi-level unlearning",
        "2506.08164",
        "g_f + alpha (g_r - <g_f, g_r>/||g_f||^2 g_f)",
        form="two-gradients",
        zo_refusal="it projects the retain gradient orthogonal to the forget gradient; no scalar loss has "
        "that combination as its gradient; a projected estimate along a random direction does not "
        "determine the inner product of the two",
    )

    def losses(self, context: Context, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The unweighted forget and retain terms."""
        rmu = Rmu(self.config)
        constants: Constants = rmu.prepare(context, batch).constants or {}
        return rmu.forget(context, batch, constants), rmu.kept(context, batch, constants)

    def combine(self, forget: NamedGradient, retain: NamedGradient) -> dict[str, torch.Tensor]:
        """g of the module docstring; alpha times the retain gradient if the forget gradient is zero."""
        inner = sum(float((forget[k] * retain[k]).sum()) for k in forget)
        square = sum(float((g**2).sum()) for g in forget.values())
        share = inner / square if square > 0 else 0.0
        alpha = self.config.alpha
        return {k: forget[k] + alpha * (retain[k] - share * forget[k]) for k in forget}
