"""Refusals as targets: IdkNLL (preference optimization of TOFU) and IDK with answer preservation.

IdkNLL  l(idk | x_f) + alpha l(r)
IDK+AP  l(idk | x_f) + alpha (-(1/beta)) log sigmoid(beta (L(idk | x_r) - L(y | x_r)))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from zobench.parameters import Positive
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context, Passes
from zobench.unlearning.objectives.preference import Reduction
from zobench.unlearning.objectives.retained import ForgetRetain, RetainConfig


class IdkNll(ForgetRetain):
    """NLL of a refusal to the forget question. Cost without the retain term: 1 forward pass."""

    forget_parts = ("refusal",)
    card = Card(
        "idk-nll",
        "Refusals by likelihood",
        "2401.06121",
        "l(idk | x_f) + alpha l(r)",
        notes="The authors' code joins both parts in one batch before the token mean; here each part has "
        "its own mean, so long retained answers do not drown short refusals.",
    )

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        return terms.mean_nll(context.module, batch.part("refusal"))


@dataclass(frozen=True, kw_only=True)
class IdkApConfig(RetainConfig):
    """Parameters of IDK+AP. Its retain term is answer preservation: ``retain`` must stay ``nll``.

    Attributes:
        beta: inverse temperature of answer preservation.
        reduction: ``sum`` or ``mean`` over answer tokens.
    """

    beta: Positive = 0.1
    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.retain != "nll":
            raise ValueError(f"idk-ap has its own retain term; retain {self.retain!r} would be ignored")


class IdkAp(IdkNll):
    """IDK+AP (arXiv 2410.08109). Cost: 3 forward passes; no reference."""

    Config = IdkApConfig
    config: IdkApConfig
    card = Card(
        "idk-ap",
        "IDK with answer preservation",
        "2410.08109",
        "l(idk | x_f) - (alpha/beta) log sigmoid(beta (L(idk | x_r) - L(y | x_r)))",
    )

    def parts(self) -> tuple[str, ...]:
        return ("refusal", "retain", "retain_refusal")

    def passes(self) -> Passes:
        return Passes(loss=3)

    def kept(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        refused, answered = (
            terms.row_nll(context.module, batch.part(p), self.config.reduction)
            for p in ("retain_refusal", "retain")
        )
        beta = self.config.beta
        return -functional.logsigmoid(beta * (refused - answered)).mean() / beta
