"""PDU: flat logits on the forget set under a hard constraint on the retained loss.

    minimize  mean_t (max_v z_v - mean_v z_v)^2  over answer tokens of f    subject to  l(r) <= epsilon

solved as gamma * forget + lambda (l(r) - epsilon), with lambda <- max(0, lambda + dual_step (l(r) - epsilon))
after each step. Source: arXiv 2506.05314.
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
    """Parameters of PDU; defaults of open-unlearning for TOFU (MUSE: alpha 50, dual step 1).

    ``warmup`` is in steps. The published warm-up of five epochs depends on the size of the forget set, so the
    suite sets it."""

    retain: Retain = "constraint"
    alpha: Rate = 100.0
    epsilon: float = 0.3
    dual_step: float = 5.0


class Pdu(ForgetRetain):
    """Primal-dual unlearning. Cost: 2 forward passes, and 1 per minibatch for the dual step."""

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
