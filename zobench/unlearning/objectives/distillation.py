"""Objectives with targets computed from logits: UNDIAL, CE-U and maximal entropy.

UNDIAL  mean_t CE(softmax(z_ref - beta onehot(y)), softmax(z))
CE-U    mean_t CE(softmax(z with z_y = -inf), softmax(z)), target detached, first answer tokens skipped
ME      mean_t KL(uniform || softmax(z))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from zobench.parameters import CountOrZero, Rate
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context, Passes, Tokens, TokenSet
from zobench.unlearning.objectives.retained import ForgetRetain, Retain, RetainConfig


@dataclass(frozen=True, kw_only=True)
class UndialConfig(RetainConfig):
    """Parameters of UNDIAL; open-unlearning's defaults, without a retain term.

    Attributes:
        beta: decrease of the true token's logit in the teacher (searched over 3, 10, 30).
        forget_tokens: ``answer``, or ``all`` but padding (open-unlearning: all, padding included).
    """

    retain: Retain = "none"
    beta: float = 10.0
    forget_tokens: TokenSet = "answer"


@dataclass(frozen=True, kw_only=True)
class CeuConfig(RetainConfig):
    """Parameters of CE-U; open-unlearning's defaults, without a retain term.

    Attributes:
        skip: number of answer tokens at the beginning that are left out of the loss.
    """

    retain: Retain = "none"
    skip: CountOrZero = 1


@dataclass(frozen=True, kw_only=True)
class MeConfig(RetainConfig):
    """Parameters of ME+GD; the authors' weight of the forget term.

    Attributes:
        forget_tokens: ``all`` but padding (as the authors) or ``answer``.
    """

    gamma: Rate = 0.1
    forget_tokens: TokenSet = "all"


def cross_entropy(target: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """-sum_v target_v log softmax(scores)_v over the last axis."""
    return -(target * scores.log_softmax(-1)).sum(-1)


def after_first(keep: torch.Tensor, skip: int) -> torch.Tensor:
    """``keep`` without the first ``skip`` kept columns of each sequence."""
    return keep & (keep.cumsum(-1) > skip)


class Undial(ForgetRetain):
    """UNDIAL (arXiv 2402.10052). Cost: 1 forward pass, and 1 of the reference per minibatch."""

    Config = UndialConfig
    config: UndialConfig
    forget_passes = Passes(loss=1, reference=1)
    card = Card(
        "undial",
        "Self-distillation with adjusted logits",
        "2402.10052",
        "mean CE(softmax(z_ref - beta onehot(y)), softmax(z))",
    )

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        rows = batch.part("forget")
        adjusted = terms.logits(context.frozen(), rows)
        lowered = torch.full_like(adjusted[..., :1], -self.config.beta)
        return {"teacher": adjusted.scatter_add(-1, terms.labels(rows)[..., None], lowered).softmax(-1)}

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        rows = batch.part("forget")
        each = cross_entropy(constants["teacher"], terms.logits(context.module, rows))
        return terms.over_tokens(each, terms.mask(rows, self.config.forget_tokens))


class Ceu(ForgetRetain):
    """CE-U (arXiv 2503.01224). Cost: 1 forward pass, and 1 per minibatch for the detached target."""

    Config = CeuConfig
    config: CeuConfig
    forget_passes = Passes(loss=1, prepare=1)
    card = Card(
        "ce-u",
        "Cross-entropy unlearning",
        "2503.01224",
        "mean CE(stop[softmax(z, z_y = -inf)], softmax(z))",
        notes="The target is that of the weights the step starts from, for every optimizer.",
    )

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        rows = batch.part("forget")
        scores = terms.logits(context.module, rows)
        return {"target": scores.scatter(-1, terms.labels(rows)[..., None], -math.inf).softmax(-1)}

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        rows = batch.part("forget")
        each = cross_entropy(constants["target"], terms.logits(context.module, rows))
        return terms.over_tokens(each, after_first(terms.mask(rows), self.config.skip))


class MaximalEntropy(ForgetRetain):
    """gamma KL(uniform || p) + alpha l(r), gamma = 0.1 (arXiv 2410.08109). Cost: 2 forward passes."""

    Config = MeConfig
    config: MeConfig
    card = Card(
        "me-gd", "Maximal entropy", "2410.08109", "gamma mean KL(uniform || softmax(z))(f) + alpha l(r)"
    )

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        rows: Tokens = batch.part("forget")
        log_p = terms.logits(context.module, rows).log_softmax(-1)
        each = -log_p.mean(-1) - math.log(log_p.shape[-1])
        return terms.over_tokens(each, terms.mask(rows, self.config.forget_tokens))
