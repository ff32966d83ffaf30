"""Gradient ascent on the forget set, alone or with a retain term.

forget = -l(forget), with the token-mean NLL l. It is unbounded below: train until a stopping rule holds, not
for a number of epochs (at open-unlearning's default of 10 epochs the model collapses, see its issue 167).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context
from zobench.unlearning.objectives.retained import ForgetRetain, Retain, RetainConfig


@dataclass(frozen=True, kw_only=True)
class GradAscentConfig(RetainConfig):
    """Parameters of :class:`RetainConfig`, by default without a retain term."""

    retain: Retain = "none"


@dataclass(frozen=True, kw_only=True)
class KlMinConfig(RetainConfig):
    """Parameters of :class:`RetainConfig`; default retain term: KL to the model before unlearning."""

    retain: Retain = "kl"


class GradAscent(ForgetRetain):
    """-l(forget). Cost: 1 forward pass. Source: arXiv 2401.06121."""

    Config: ClassVar[type] = GradAscentConfig
    card = Card("grad-ascent", "Gradient ascent", "2401.06121", "-l(f)", bounded=False)

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        return -terms.mean_nll(context.module, batch.part("forget"))


class GradDiff(GradAscent):
    """-gamma l(forget) + alpha l(retain), gamma = alpha = 1. Cost: 2 forward passes."""

    Config = RetainConfig
    card = Card("grad-diff", "Gradient difference", "2401.06121", "-gamma l(f) + alpha l(r)", bounded=False)


class KlMin(GradAscent):
    """-gamma l(forget) + alpha KL(ref || theta) on retained tokens.

    Cost: 2 forward passes, and 1 of the reference per minibatch."""

    Config = KlMinConfig
    card = Card(
        "kl-min",
        "Ascent with KL",
        "2401.06121",
        "-gamma l(f) + alpha KL(p_ref || p)(r)",
        bounded=False,
        notes="KL over answer tokens; the authors' code averages over prompt and padding too "
        "(retain_tokens: all gives prompt and answer).",
    )
