"""Training after unlearning: relearning on facts that are not scored, and benign fine-tuning.

AdamW without weight decay minimizes the token-mean NLL of given minibatches, taken in order and repeated from
the start, for every learning rate of a grid. One run per rate passes through all step counts, so a curve
costs its longest run: 3 forward passes per step. The learning rate with the highest recovery is the one to
report. A model in half precision is trained as a float32 copy whose matrix products are computed in the
model's format, and rounded to be scored.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from zobench.parameters import CountOrZero, NonEmpty, Parameters, Positive
from zobench.unlearning import terms
from zobench.unlearning.base import Material, ModelProbe, Tokens, Variant
from zobench.unlearning.probes.weights import state, write
from zobench.zo.precision import HALF

Steps = Annotated[tuple[CountOrZero, ...], NonEmpty()]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Parameters):
    """Parameters of relearning.

    Attributes:
        steps: step counts after which a copy is returned, increasing; 0 is the model itself.
        rates: learning rates of AdamW.
        trainable: train the parameters whose name contains one of these; empty: all.
    """

    steps: Steps = (0, 10, 30, 100, 300)
    rates: Annotated[tuple[Positive, ...], NonEmpty()] = (1e-4, 3e-4, 1e-3)
    trainable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps must increase, not {self.steps}")


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(TrainConfig):
    """Parameters of benign fine-tuning.

    Attributes:
        on: name of the benign text to train on.
    """

    steps: Steps = (0, 30, 100)
    on: str = "retain"


class RelearnTraining(ModelProbe):
    """Base class of relearning and fine-tuning; a subclass chooses the minibatches."""

    Config: ClassVar[type] = TrainConfig
    config: TrainConfig

    @abstractmethod
    def minibatches(self, material: Material) -> Sequence[Tokens]:
        """The minibatches, or ``ValueError`` if there are none."""

    def variants(self, module: nn.Module, material: Material) -> Iterator[Variant]:
        batches = self.minibatches(material)
        for rate in self.config.rates:
            yield from self._curve(copy.deepcopy(module), batches, rate)

    def _curve(self, given: nn.Module, batches: Sequence[Tokens], rate: float) -> Iterator[Variant]:
        # Steps of AdamW are below half a unit of most weights in half precision, where they would be lost.
        half = next(given.parameters()).dtype in HALF
        module = copy.deepcopy(given).float() if half else given
        moving = self._moving(module)
        for p in moving:
            p.requires_grad_(True)
        optimizer = torch.optim.AdamW(moving, lr=rate, weight_decay=0.0, fused=True)
        done = 0
        for target in self.config.steps:
            for step in range(done, target):
                with _products_as(given):
                    _step(module, moving, optimizer, batches[step % len(batches)])
            done = target
            if half:
                write(given, state(module))
            yield Variant(float(target), given, {"lr": rate})

    def _moving(self, module: nn.Module) -> list[nn.Parameter]:
        wanted = self.config.trainable
        found = [p for n, p in module.named_parameters() if not wanted or any(w in n for w in wanted)]
        if not found:
            raise ValueError(f"no parameter's name contains any of {list(wanted)}")
        return found


def _products_as(module: nn.Module) -> torch.autocast:
    """Context in which float32 weights are multiplied in the half precision of ``module``, if it has one."""
    p = next(module.parameters())
    half = p.dtype in HALF
    return torch.autocast(p.device.type, dtype=p.dtype if half else torch.bfloat16, enabled=half)


def _step(
    module: nn.Module, moving: list[nn.Parameter], optimizer: torch.optim.Optimizer, rows: Tokens
) -> None:
    with torch.enable_grad():
        loss = terms.answer_nll(module, rows)
        for p, g in zip(moving, torch.autograd.grad(loss, moving, allow_unused=True), strict=True):
            p.grad = g
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class Relearn(RelearnTraining):
    """Trains on facts of the forget set that are not scored."""

    name: ClassVar[str] = "relearn"

    def minibatches(self, material: Material) -> Sequence[Tokens]:
        if not material.relearn:
            raise ValueError("relearning needs minibatches of facts that are not scored (material.relearn)")
        return material.relearn


class FineTune(RelearnTraining):
    """Trains on text that contains nothing of the forget set."""

    Config = FineTuneConfig
    name: ClassVar[str] = "fine-tune"
    config: FineTuneConfig

    def minibatches(self, material: Material) -> Sequence[Tokens]:
        found = material.benign.get(self.config.on, ())
        if not found:
            raise ValueError(f"fine-tuning on {self.config.on!r}: the material has {sorted(material.benign)}")
        return found
