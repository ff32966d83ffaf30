"""First-order baselines: AdamW (arXiv 1711.05101) and SGD by backpropagation. 3 forward passes per step.

adamw: theta <- (1 - eta wd) theta - eta m_hat / (sqrt(v_hat) + delta), moments of grad L
sgd:   m <- mu m + grad L;  theta <- (1 - eta wd) theta - eta m
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from zobench.zo.base import Cost, MethodCard, StepRecord
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate
from zobench.zo.method import Method
from zobench.zo.objective import Objective
from zobench.zo.parameters import FractionBelowOne, Parameters, Positive, Rate
from zobench.zo.space.base import ParameterSpace
from zobench.zo.updates import Adam, Decay, DecayRule, Momentum, Sgd, Update


@dataclass(frozen=True)
class AdamwConfig(Parameters):
    """Parameters of AdamW; learning rate and decay of MeZO's fine-tuning baseline, moments as in torch.

    Attributes:
        lr: step size eta.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        delta: added to the root of the second moment.
        weight_decay: decoupled decay rate.
        decay_rule: tensors that decay: ``matrices``, ``all``, ``mezo``, ``mezo-roberta``.
    """

    lr: Rate = 1e-5
    beta1: FractionBelowOne = 0.9
    beta2: FractionBelowOne = 0.999
    delta: Positive = 1e-8
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "matrices"


@dataclass(frozen=True)
class SgdConfig(Parameters):
    """Parameters of SGD; learning rate from the middle of MeZO's FT-SGD grid.

    Attributes:
        lr: step size eta.
        momentum: mu; 0 for plain SGD.
        weight_decay: decoupled decay rate.
        decay_rule: tensors that decay: ``matrices``, ``all``, ``mezo``, ``mezo-roberta``.
    """

    lr: Rate = 1e-3
    momentum: FractionBelowOne = 0.0
    weight_decay: Rate = 0.0
    decay_rule: DecayRule = "matrices"


class FirstOrder(Method):
    """Base of first-order methods: one gradient by backpropagation, one update."""

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        self.updater = self.make_update()

    @abstractmethod
    def make_update(self) -> Update:
        """The update rule that receives the gradient."""

    def measured(self, objective: Objective) -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and gradient of the coming step, by parameter name. Variants override it."""
        return objective.gradient(self.space.tensors)

    @torch.no_grad()
    def step(self, objective: Objective) -> StepRecord:
        before = (objective.meter.forwards, objective.meter.tokens)
        loss, grads = self.measured(objective)
        spent = (objective.meter.forwards - before[0], objective.meter.tokens - before[1])
        finite = math.isfinite(loss) and all(bool(g.isfinite().all()) for g in grads.values())
        lr = self.learning_rate()
        if finite:
            self.updater.apply_dense(self.engine, lambda name: self.tuned(name, grads[name]), lr)
        estimate = Estimate((), (), (loss,), loss)
        record = self.record(estimate, lr, spent, "" if finite else "non-finite loss or gradient", {})
        self.t += 1
        return record

    def tuned(self, name: str, grad: torch.Tensor) -> torch.Tensor:
        """The gradient of the tuned entries, float32 (float64 for float64 weights)."""
        index = self.space.indices(name)
        values = grad if index is None else grad.reshape(-1)[index]
        return values.to(torch.float64 if values.dtype == torch.float64 else torch.float32, copy=True)

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "update": self.updater}


class Adamw(FirstOrder):
    """AdamW by backpropagation."""

    Config = AdamwConfig
    card = MethodCard(
        name="adamw",
        title="AdamW (first-order)",
        source="arXiv 1711.05101",
        formula="theta <- (1 - eta wd) theta - eta * m_hat / (sqrt(v_hat) + delta)",
        order="first",
        replay="checkpoint",
        notes="Moments in float32. A forward and backward pass together count as 3 forward passes.",
        decay="Decoupled, as in the paper. By default on matrices only, as common trainers do; "
        "torch.optim.AdamW decays every tensor (rule all).",
        revision=2,
    )

    @classmethod
    def cost(cls, config: AdamwConfig) -> Cost:
        return Cost(3, 3, 1, 8)

    def make_update(self) -> Adam:
        c = self.config
        return Adam(c.beta1, c.beta2, c.delta, Decay(c.weight_decay, c.decay_rule))


class FirstOrderSgd(FirstOrder):
    """SGD by backpropagation."""

    Config = SgdConfig
    card = MethodCard(
        name="sgd",
        title="SGD (first-order)",
        source="zobench",
        formula="m <- mu m + grad; theta <- (1 - eta wd) theta - eta m",
        order="first",
        replay="checkpoint",
        notes="A forward and backward pass together count as 3 forward passes.",
        decay="Decoupled (SGDW, arXiv 1711.05101), by default on matrices only; torch.optim.SGD adds wd "
        "theta to the gradient, which is the same at mu = 0.",
        revision=2,
    )

    @classmethod
    def cost(cls, config: SgdConfig) -> Cost:
        return Cost(3, 3, 1, 4 if config.momentum else 0)

    def make_update(self) -> Update:
        c = self.config
        decay = Decay(c.weight_decay, c.decay_rule)
        return Momentum(c.momentum, 0.0, decay) if c.momentum else Sgd(decay)
