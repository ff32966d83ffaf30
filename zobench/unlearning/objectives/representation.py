"""Representation misdirection: RMU and its extension to reasoning traces, R2MU.

    RMU   mean_t ||h_l(f) - c u||^2 / d + alpha mean_t ||h_l(r) - h_l,ref(r)||^2 / d
    R2MU  RMU + mean_t ||h_l(traces) - c u||^2 / d + general_weight mean_t ||h_l(cot) - h_l,ref(cot)||^2 / d

u is drawn uniformly from [0, 1)^d and divided by its norm. It is determined by ``direction_seed`` and d and
stays the same throughout a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from zobench.parameters import Rate
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Card, Constants, Context, Passes, TokenSet
from zobench.unlearning.objectives.retained import ForgetRetain, Retain, RetainConfig


@dataclass(frozen=True, kw_only=True)
class RmuConfig(RetainConfig):
    """Parameters of RMU; open-unlearning's defaults for TOFU (Zephyr-7B on WMDP: c 6.5, alpha 1200, training
    the down-projections of blocks 5 to 7).

    ``layer`` (7 of 32 in the paper) is the block of both terms.

    Attributes:
        c: length of the target vector of forget activations.
        forget_tokens: positions averaged in the forget term: ``answer`` (open-unlearning) or ``all`` but
            padding (the authors average over padding too).
        direction_seed: seed of u.
    """

    retain: Retain = "embedding"
    c: float = 2.0
    forget_tokens: TokenSet = "answer"
    direction_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class R2muConfig(RmuConfig):
    """Parameters of R2MU; the authors' values for a reasoning model with 8 B parameters.

    Attributes:
        general_weight: weight of the term that keeps activations on general reasoning.
    """

    c: float = 6.5
    alpha: Rate = 1.7
    general_weight: float = 1.0


def control_vector(width: int, seed: int, like: torch.Tensor) -> torch.Tensor:
    """u: uniform on [0, 1)^width divided by its norm; the same on every machine for one seed."""
    # NumPy's generator: torch refuses to draw inside the batched runs of zeroth-order optimizers.
    u = np.random.default_rng(seed).random(width)
    return torch.from_numpy(u / np.linalg.norm(u)).to(like)


class Rmu(ForgetRetain):
    """RMU (arXiv 2403.03218): a scalar function of activations, so zeroth-order optimizers can run it."""

    Config = RmuConfig
    config: RmuConfig
    card = Card(
        "rmu",
        "Representation misdirection for unlearning",
        "2403.03218",
        "mean ||h_l(f) - c u||^2/d + alpha mean ||h_l(r) - h_l,ref(r)||^2/d",
        notes="Averages leave padding out.",
    )

    def misdirected(self, context: Context, batch: Batch, part: str) -> torch.Tensor:
        """Mean squared distance of the part's activations to c u, per dimension. Cost: 1 forward pass."""
        rows = batch.part(part)
        states = terms.hidden(context.module, rows, self.config.layer)
        target = self.config.c * control_vector(states.shape[-1], self.config.direction_seed, states)
        return terms.squared_distance(states, target, terms.hidden_mask(rows, self.config.forget_tokens))

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        return self.misdirected(context, batch, "forget")


class R2mu(Rmu):
    """RMU that also misdirects reasoning traces and keeps general reasoning (arXiv 2506.12963).

    Cost: 4 forward passes, and 2 of the reference per minibatch."""

    Config = R2muConfig
    config: R2muConfig
    forget_parts = ("forget", "traces", "general")
    forget_passes = Passes(loss=3, reference=1)
    card = Card(
        "r2mu",
        "Reasoning-aware RMU",
        "2506.12963",
        "RMU + mean ||h_l(traces) - c u||^2/d + w mean ||h_l(cot) - h_l,ref(cot)||^2/d",
    )

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        return {"general": terms.hidden(context.frozen(), batch.part("general"), self.config.layer)}

    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        rows = batch.part("general")
        states = terms.hidden(context.module, rows, self.config.layer)
        keep = terms.hidden_mask(rows, self.config.forget_tokens)
        kept = terms.squared_distance(states, constants["general"], keep)
        misdirected = self.misdirected(context, batch, "forget") + self.misdirected(context, batch, "traces")
        return misdirected + self.config.general_weight * kept


@dataclass(frozen=True, kw_only=True)
class SiftObjectiveConfig(RmuConfig):
    """Parameters of RMU's two terms, with the weights of the published SIFT runs (its optimizer ignores the
    weights)."""

    c: float = 20.0
    alpha: Rate = 100.0


class SiftObjective(Rmu):
    """RMU's terms for the optimizer ``sift``, which uses their gradients separately."""

    Config = SiftObjectiveConfig
    config: SiftObjectiveConfig
    card = Card(
        "sift",
        "Spectral interference-free unlearning",
        "OPTML-Group/SIFT",
        "RMU's two terms, joined by their momenta's singular vectors (optimizer sift)",
        form="two-gradients",
        zo_refusal="it joins the singular vectors of the forget gradient and of the retain gradient, each by "
        "itself; projected estimates along random directions hold the singular vectors of neither",
        optimizer="sift",
    )
