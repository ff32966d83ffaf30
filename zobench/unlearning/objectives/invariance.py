"""ILU: NPO with an invariance penalty on an unrelated task.

    loss = NPO + penalty_weight (d/dw l(w z; D_i) at w = 1)^2,   d/dw CE(w z, y) = E_p[z] - z_y

The penalty has the form of IRMv1: w is a scalar factor of the logits. Its derivative has a closed form, so it
needs no second backward pass, and zeroth-order optimizers can run it. (The authors' released code lacks this
term.) Source: arXiv 2506.01339.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context, Passes
from zobench.unlearning.objectives.preference import Npo, NpoConfig


@dataclass(frozen=True, kw_only=True)
class IluConfig(NpoConfig):
    """Parameters of ILU on NPO.

    Attributes:
        penalty_weight: weight of the penalty; the paper reports 0.05 to 2 without a single default.
    """

    penalty_weight: float = 1.0


class Ilu(Npo):
    """The objective of the module docstring. Cost: 1 forward pass more than NPO."""

    Config = IluConfig
    config: IluConfig
    forget_parts = ("forget", "invariance")
    forget_passes = Passes(loss=2, reference=1)
    card = Card(
        "ilu",
        "Invariant unlearning on NPO",
        "2506.01339",
        "NPO + w (d/dw l(w z; D_i)|_{w=1})^2 + alpha retain",
        notes="w is read as IRMv1's scalar on the logits; the penalty is inside gamma's weight.",
    )

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        npo = super().forget(context, batch, constants)
        return npo + self.config.penalty_weight * self.penalty(context, batch)

    def penalty(self, context: Context, batch: Batch) -> torch.Tensor:
        """(mean over answer tokens of E_p[z] - z_y)^2. Cost: 1 forward pass."""
        rows = batch.part("invariance")
        scores = terms.logits(context.module, rows)
        slope = (scores.softmax(-1) * scores).sum(-1) - terms.chosen(scores, rows)
        return terms.over_tokens(slope, terms.mask(rows)) ** 2
