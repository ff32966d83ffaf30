"""PDU: flat logits on the forget set under a hard constraint on the retained loss.

    minimize  mean_t (max_v z_v - mean_v z_v)^2  over answer tokens of f    subject to  l(r) <= epsilon

as gamma * forget + lambda (l(r) - epsilon), lambda <- max(0, lambda + dual_step (l(r) - epsilon)) after each
step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zobench.parameters import Rate
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context
from zobench.unlearning.objectives.retained import ForgetRetain, Retain, RetainConfig


@dataclass(frozen=True, kw_only=True)
class PduConfig(RetainConfig):
    """PDU; open-unlearning's TOFU setting (MUSE: alpha 50, dual step 1). ``warmup`` is in steps: their five
    epochs depend on the forget set's size, so the suite gives it."""

    retain: Retain = "constraint"
    alpha: Rate = 100.0
    epsilon: float = 0.3
    dual_step: float = 5.0


class Pdu(ForgetRetain):
    """See the module's text. 2 passes, 1 more per minibatch for the dual step."""

    Config = PduConfig
    card = Card(
        "pdu",
        "Primal-dual unlearning",
        "2506.05314",
        "mean (max_v z - mean_v z)^2 s.t. l(r) <= epsilon",
        notes="The dual step uses the retained loss at the weights the step started from.",
    )

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        rows = batch.part("forget")
        scores = terms.logits(context.module, rows)
        return terms.over_tokens((scores.amax(-1) - scores.mean(-1)) ** 2, terms.mask(rows))
