"""Preference objectives: NPO, SimNPO, DPO with refusals, and MUSE's variant of NPO on logits.

With L(x) the NLL of the answer (token-sum or token-mean, see ``reduction``):

    NPO     -(2/beta) log sigmoid(beta (L(f) - L_ref(f)))
    SimNPO  -(2/beta) log sigmoid(beta (L(f)/|y| - delta))
    DPO     -(2/beta) log sigmoid(beta ((L_ref(idk) - L(idk)) - (L_ref(f) - L(f))))

each a mean over examples. At theta = ref the gradient of NPO is -grad L for every beta. As beta -> 0, NPO
becomes gradient ascent up to the constant (2/beta) log 2; as beta -> infinity, its gradient vanishes once L
exceeds L_ref.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from zobench.parameters import Positive, Rate
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context, Passes
from zobench.unlearning.objectives.retained import ForgetRetain, Retain, RetainConfig

Reduction = Literal["sum", "mean"]


def log_sigmoid_loss(margin: torch.Tensor, beta: float) -> torch.Tensor:
    """-(2/beta) log sigmoid(beta margin), mean over examples."""
    return -(2.0 / beta) * functional.logsigmoid(beta * margin).mean()


@dataclass(frozen=True, kw_only=True)
class NpoConfig(RetainConfig):
    """Parameters of NPO; defaults for TOFU.

    Attributes:
        beta: inverse temperature (TOFU 0.1; WMDP 0.0225 with ``reduction: mean``).
        reduction: ``sum`` (TOFU) or ``mean`` (WMDP code) over answer tokens. The same beta defines different
            objectives under the two.
    """

    beta: Positive = 0.1
    reduction: Reduction = "sum"


@dataclass(frozen=True, kw_only=True)
class SimNpoConfig(RetainConfig):
    """Parameters of SimNPO; open-unlearning's defaults (TOFU forget05: beta 2.5, gamma 0.1375).

    Attributes:
        beta: inverse temperature.
        delta: margin on the token-mean NLL (``gamma`` in the authors' code).
    """

    gamma: Rate = 0.125
    beta: Positive = 4.5
    delta: float = 0.0


@dataclass(frozen=True, kw_only=True)
class IdkDpoConfig(NpoConfig):
    """Parameters of DPO with refusals as the preferred answers, without a retain term."""

    retain: Retain = "none"


class Npo(ForgetRetain):
    """NPO (arXiv 2404.05868). Cost without the retain term: 1 forward pass, and 1 of the reference per
    minibatch."""

    Config = NpoConfig
    config: NpoConfig
    forget_passes = Passes(loss=1, reference=1)
    card = Card(
        "npo",
        "Negative preference optimization",
        "2404.05868",
        "-(2/beta) log sigmoid(beta (L(f) - L_ref(f))) + alpha retain",
        notes="Log-probabilities, never raw logits (see npo-muse-logits).",
    )

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        return {"npo": terms.row_nll(context.frozen(), batch.part("forget"), self.config.reduction)}

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        nll = terms.row_nll(context.module, batch.part("forget"), self.config.reduction)
        return log_sigmoid_loss(nll - constants["npo"], self.config.beta)


class NpoMuseLogits(Npo):
    """NPO as computed by MUSE's code: the sigmoid of a difference of raw logits, for each vocabulary entry
    and position, without the softmax denominator. Only for comparison with published MUSE results."""

    card = Card(
        "npo-muse-logits",
        "NPO as in MUSE's code",
        "2407.06460",
        "-(2/beta) mean_{t,v} log sigmoid(beta (z_ref - z)) + alpha retain",
        bounded=True,
        notes="A known defect of the released code (its issue 2), kept under its own name. Not invariant to "
        "a constant added to all logits. ``reduction`` has no influence; padding does not count.",
    )

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        return {"npo": terms.logits(context.frozen(), batch.part("forget"))}

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        rows, beta = batch.part("forget"), self.config.beta
        margin = constants["npo"] - terms.logits(context.module, rows)
        each = -(2.0 / beta) * functional.logsigmoid(beta * margin).mean(-1)
        return terms.over_tokens(each, terms.mask(rows, "all"))


class SimNpo(ForgetRetain):
    """SimNPO (arXiv 2410.07163). Cost without the retain term: 1 forward pass; no reference."""

    Config = SimNpoConfig
    config: SimNpoConfig
    card = Card(
        "simnpo",
        "SimNPO",
        "2410.07163",
        "-(2/beta) log sigmoid(beta (L(f)/|y| - delta)), times gamma, + alpha retain",
    )

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        nll = terms.row_nll(context.module, batch.part("forget"), "mean")
        return log_sigmoid_loss(nll - self.config.delta, self.config.beta)


class Dpo(ForgetRetain):
    """DPO preferring a refusal to the forgotten answer. 2 passes and 2 of the reference."""

    Config = NpoConfig
    config: NpoConfig
    forget_parts = ("forget", "refusal")
    forget_passes = Passes(loss=2, reference=2)
    card = Card(
        "dpo",
        "DPO with refusals and a retain term",
        "2305.18290",
        "-(2/beta) log sigmoid(beta ((L_ref(idk) - L(idk)) - (L_ref(f) - L(f)))) + alpha retain",
        notes="One refusal is drawn per row when the minibatch is made.",
    )

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        nll = [
            terms.row_nll(context.frozen(), batch.part(p), self.config.reduction) for p in self.forget_parts
        ]
        return {"dpo": nll[1] - nll[0]}

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        forgotten, refused = (
            terms.row_nll(context.module, batch.part(p), self.config.reduction) for p in self.forget_parts
        )
        return log_sigmoid_loss(constants["dpo"] - (refused - forgotten), self.config.beta)


class IdkDpo(Dpo):
    """DPO with refusals and no retain term (open-unlearning's IdkDPO)."""

    Config = IdkDpoConfig
    card = Card(
        "idk-dpo",
        "IdkDPO",
        "2401.06121",
        "-(2/beta) log sigmoid(beta ((L_ref(idk) - L(idk)) - (L_ref(f) - L(f))))",
    )
