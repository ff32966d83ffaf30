"""Token-weighted gradient ascent: WGA and SatImp.

    WGA     -mean_t stop[p_t^beta] (-log p_t)
    SatImp  -mean_t stop[p_t^beta1 (1 - p_t)^beta2] (-log p_t)

The token weights (under stop) are computed at the model weights before the step, for every optimizer (see
``unlearning.base``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from zobench.parameters import Rate
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context, Passes
from zobench.unlearning.objectives.retained import ForgetRetain, RetainConfig


@dataclass(frozen=True, kw_only=True)
class WgaConfig(RetainConfig):
    """Parameters of WGA; open-unlearning's defaults.

    Attributes:
        beta: exponent of the token's probability; 0 gives gradient ascent.
    """

    beta: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SatImpConfig(RetainConfig):
    """Parameters of SatImp; defaults of open-unlearning's configuration file (its README has gamma 1, alpha
    0.1).

    Attributes:
        beta1: exponent of p (saturation).
        beta2: exponent of 1 - p (importance).
    """

    gamma: Rate = 0.1
    beta1: float = 5.0
    beta2: float = 1.0


class Wga(ForgetRetain):
    """WGA (arXiv 2502.19301). Cost without the retain term: 1 forward pass, and 1 per minibatch; no
    reference."""

    Config: ClassVar[type] = WgaConfig
    config: WgaConfig
    forget_passes = Passes(loss=1, prepare=1)
    card = Card(
        "wga",
        "Weighted gradient ascent",
        "2502.19301",
        "-mean stop[p^beta] NLL_t + alpha retain",
        bounded=False,
        notes="Each step's scalar is unbounded, but its gradient fades with p^beta.",
    )

    def weights(self, p: torch.Tensor) -> torch.Tensor:
        """Weight of each token from its probability."""
        return p**self.config.beta

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        rows = batch.part("forget")
        nll = terms.token_nll(terms.logits(context.module, rows), rows)
        return {"weights": self.weights((-nll).exp())}

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        rows = batch.part("forget")
        nll = terms.token_nll(terms.logits(context.module, rows), rows)
        return -terms.over_tokens(constants["weights"] * nll, terms.mask(rows))


class SatImp(Wga):
    """SatImp (arXiv 2505.11953). Cost as for WGA."""

    Config = SatImpConfig
    config: SatImpConfig  # type: ignore[assignment]
    card = Card(
        "satimp",
        "Saturation and importance",
        "2505.11953",
        "-mean stop[p^b1 (1-p)^b2] NLL_t + alpha retain",
        bounded=False,
    )

    def weights(self, p: torch.Tensor) -> torch.Tensor:
        return p**self.config.beta1 * (1 - p) ** self.config.beta2
