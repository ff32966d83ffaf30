"""The objective: the only way for an optimizer to spend forward passes.

It owns the model, the loss function, the current minibatch and the meter. One forward is the loss at one parameter
value on one suite-sized minibatch; n batched branches are n; a Jacobian-vector product is 2; forward plus backward is 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

FORWARDS_PER_JVP = 2
FORWARDS_PER_GRADIENT = 3


class BudgetExhausted(RuntimeError):
    """Asked for more forwards than the budget holds; raised before anything is computed."""


class NonFiniteLoss(ArithmeticError):
    """A loss was NaN or infinite. The step that met it leaves the weights as they were before it."""


@dataclass(slots=True)
class Meter:
    """What has been spent. ``budget`` is in forwards; ``None`` means unlimited."""

    budget: int | None = None
    forwards: int = 0
    sequences: int = 0
    tokens: int = 0

    @property
    def remaining(self) -> int | None:
        return None if self.budget is None else self.budget - self.forwards

    def charge(self, forwards: int, sequences: int, tokens: int) -> None:
        """Book ``forwards`` passes of a minibatch of this size, or raise :class:`BudgetExhausted` and book nothing."""
        if self.budget is not None and self.forwards + forwards > self.budget:
            raise BudgetExhausted(
                f"{forwards} more forward passes asked, {self.budget - self.forwards} of {self.budget} left"
            )
        self.forwards += forwards
        self.sequences += forwards * sequences
        self.tokens += forwards * tokens


LossFunction = Callable[[torch.nn.Module, Any], torch.Tensor]


class Objective:
    """L(theta; B) for the module's current parameters and the current minibatch.

    Args:
        module: the model whose parameters are tuned.
        loss: ``loss(module, batch)`` -> scalar tensor. It must run ``module`` as given (it may be a functional view).
        meter: budget and counts; a fresh unlimited one by default.
    """

    def __init__(self, module: torch.nn.Module, loss: LossFunction, meter: Meter | None = None) -> None:
        self.module = module
        self.meter = meter if meter is not None else Meter()
        self._loss = loss
        self._batch: Any = None
        self._sequences = 0
        self._tokens = 0

    def set_batch(self, batch: Any, *, sequences: int, tokens: int) -> None:
        """Make ``batch`` the minibatch of the coming step; costs nothing."""
        self._batch, self._sequences, self._tokens = batch, sequences, tokens

    def loss(self) -> float:
        """The loss at the current parameters. 1 forward. May be non-finite: the caller decides."""
        self.meter.charge(1, self._sequences, self._tokens)
        with torch.no_grad():
            return float(self._loss(self.module, self._batch))

    def gradient(self, parameters: Mapping[str, torch.nn.Parameter]) -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and its gradient by backpropagation, by parameter name. 3 forwards."""
        self.meter.charge(FORWARDS_PER_GRADIENT, self._sequences, self._tokens)
        with torch.enable_grad():
            loss = self._loss(self.module, self._batch)
            grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        return float(loss.detach()), {
            name: g if g is not None else torch.zeros_like(p)
            for (name, p), g in zip(parameters.items(), grads, strict=True)
        }
