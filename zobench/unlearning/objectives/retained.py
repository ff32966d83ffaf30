"""Retain terms, and the base class for objectives gamma * forget + alpha * retain.

Retain terms on the ``retain`` part (l = token-mean NLL of answers):

- ``nll``: l(theta);
- ``kl``: mean over tokens of KL(p_ref || p_theta);
- ``embedding``: mean over tokens of ||h_l(theta) - h_l(ref)||^2 / d (RMU's);
- ``constraint``: lambda (l(theta) - epsilon), with lambda updated after each step by dual ascent,
  lambda <- max(0, lambda + dual_step (l - epsilon)), starting from alpha;
- ``none``.

Notation: gamma is the weight of *forget*, alpha that of *retain*, as in open-unlearning. The code of SimNPO
and WMDP uses gamma for retain. KL is over answer tokens by default; open-unlearning averages over all tokens,
padding included (here padding is always left out).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from zobench.parameters import Parameters, Rate
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, Constants, Context, Passes, TokenSet, UnlearningObjective

Retain = Literal["nll", "kl", "embedding", "constraint", "none"]


@dataclass(frozen=True, kw_only=True)
class RetainConfig(Parameters):
    """Weights of the terms, and the kind of retain term.

    Attributes:
        gamma: weight of the forget term.
        alpha: weight of the retain term; for ``constraint`` the initial dual variable.
        retain: ``nll``, ``kl``, ``embedding``, ``constraint`` or ``none``.
        retain_tokens: tokens that ``kl`` and ``embedding`` average over: ``answer`` or ``all``.
        layer: block whose output ``embedding`` compares, from 0.
        epsilon: largest retained NLL allowed by ``constraint``.
        dual_step: step size of the dual ascent.
        warmup: number of steps before the dual ascent starts.
    """

    gamma: Rate = 1.0
    alpha: Rate = 1.0
    retain: Retain = "nll"
    retain_tokens: TokenSet = "answer"
    layer: int = 7
    epsilon: float = 0.3
    dual_step: float = 1.0
    warmup: int = 0


class ForgetRetain(UnlearningObjective):
    """gamma * forget + alpha * retain. A subclass defines :meth:`forget`, its cost and the parts it reads."""

    Config: ClassVar[type] = RetainConfig
    config: RetainConfig
    forget_parts: tuple[str, ...] = ("forget",)
    forget_passes: Passes = Passes(loss=1)

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.weight = float(self.config.alpha)
        self.steps = 0

    @abstractmethod
    def forget(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        """The forget term."""

    def forget_constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        """Constants of the forget term."""
        return {}

    def parts(self) -> tuple[str, ...]:
        kept = () if self.config.retain == "none" else ("retain",)
        return tuple(dict.fromkeys(self.forget_parts + kept))

    def passes(self) -> Passes:
        kept = {
            "none": Passes(loss=0),
            "nll": Passes(loss=1),
            "constraint": Passes(loss=1, prepare=1),
        }.get(self.config.retain, Passes(loss=1, reference=1))
        f = self.forget_passes
        return Passes(f.loss + kept.loss, f.prepare + kept.prepare, f.reference + kept.reference)

    def constants(self, context: Context, batch: Batch) -> dict[str, torch.Tensor]:
        found = self.forget_constants(context, batch)
        kind = self.config.retain
        if kind == "kl":
            found["retain"] = terms.logits(context.frozen(), batch.part("retain"))
        elif kind == "embedding":
            found["retain"] = terms.hidden(context.frozen(), batch.part("retain"), self.config.layer)
        elif kind == "constraint":
            found["retain"] = terms.mean_nll(context.module, batch.part("retain"))
        return found

    def value(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        total = self.config.gamma * self.forget(context, batch, constants)
        if self.config.retain == "none":
            return total
        return total + self.weight * self.kept(context, batch, constants)

    def kept(self, context: Context, batch: Batch, constants: Constants) -> torch.Tensor:
        """The retain term, unweighted."""
        kind, rows = self.config.retain, batch.part("retain")
        if kind == "embedding":
            states = terms.hidden(context.module, rows, self.config.layer)
            keep = terms.hidden_mask(rows, self.config.retain_tokens)
            return terms.squared_distance(states, constants["retain"], keep)
        scores = terms.logits(context.module, rows)
        if kind == "kl":
            keep = terms.mask(rows, self.config.retain_tokens)
            return terms.over_tokens(terms.divergence(constants["retain"], scores), keep)
        nll = terms.over_tokens(terms.token_nll(scores, rows), terms.mask(rows))
        return nll - self.config.epsilon if kind == "constraint" else nll

    def advance(self, batch: Batch) -> None:
        self.steps += 1
        if self.config.retain != "constraint" or self.steps <= self.config.warmup:
            return
        assert batch.constants is not None
        slack = float(batch.constants["retain"]) - self.config.epsilon
        self.weight = max(0.0, self.weight + self.config.dual_step * slack)

    def state_dict(self) -> dict[str, float]:
        return {"weight": self.weight, "steps": float(self.steps)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.weight, self.steps = state["weight"], int(state["steps"])
