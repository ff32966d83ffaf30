"""The objective: the only way for an optimizer to spend forward passes.

It owns the model, the loss function, the current minibatch and the meter. One forward is the loss at one
parameter value on one suite-sized minibatch; n batched branches are n; a Jacobian-vector product is 2;
forward plus backward is 3.

The loss function may return a tensor or a plain number. Where it is no differentiable function of the weights
(accuracy, F1, a rank), say ``differentiable=False``: gradients and Jacobian-vector products are then refused,
losses are unaffected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

FORWARDS_PER_JVP = 2
FORWARDS_PER_GRADIENT = 3


class BudgetExhausted(RuntimeError):
    """Asked for more forwards than the budget holds; raised before anything is computed."""


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
        """Book ``forwards`` passes of a minibatch of this size, or raise :class:`BudgetExhausted` and book
        nothing."""
        if self.budget is not None and self.forwards + forwards > self.budget:
            raise BudgetExhausted(
                f"{forwards} more forward passes asked, {self.budget - self.forwards} of {self.budget} left"
            )
        self.forwards += forwards
        self.sequences += forwards * sequences
        self.tokens += forwards * tokens


LossFunction = Callable[[nn.Module, Any], Any]


class _Closure(nn.Module):
    """``loss(module, batch)`` as a module of its own, so that a functional call can replace the weights under
    it."""

    def __init__(self, module: nn.Module, loss: LossFunction) -> None:
        super().__init__()
        self.module = module
        self._loss = loss

    def forward(self, batch: Any) -> Any:
        return self._loss(self.module, batch)


class Objective:
    """L(theta; B) for the module's current parameters and the current minibatch.

    Args:
        module: the model whose parameters are tuned.
        loss: ``loss(module, batch)`` -> scalar tensor or number. It must run ``module`` as given, never a
            copy it kept.
        meter: budget and counts; a fresh unlimited one by default.
        differentiable: False for losses that are no smooth function of the weights.
        inference: compute losses in torch's inference mode, which costs less per operation; only where no
            gradient is asked for afterwards, since a tensor that the module keeps from such a forward cannot
            be differentiated through.
        items: ``items(module, batch)`` -> vector of losses whose mean is the loss, for methods that treat
            examples apart (see :meth:`reshaped_gradient`).
    """

    loss_dtype: torch.dtype
    """That of the last loss which ``loss`` gave; float32 for plain numbers."""
    recorded = False
    """True for objectives that answer from a record instead of running the model (see
    ``zobench.zo.trajectory``)."""

    def __init__(
        self,
        module: nn.Module,
        loss: LossFunction,
        meter: Meter | None = None,
        *,
        differentiable: bool = True,
        inference: bool = False,
        items: LossFunction | None = None,
    ) -> None:
        self.module = module
        self.meter = meter if meter is not None else Meter()
        self.differentiable = differentiable
        self._without_gradients = torch.inference_mode if inference else torch.no_grad
        self._loss = loss
        self._items = items
        self.loss_dtype = torch.float32
        self._batch: Any = None
        self._sequences = 0
        self._tokens = 0

    def set_batch(self, batch: Any, *, sequences: int, tokens: int) -> None:
        """Make ``batch`` the minibatch of the coming step; costs nothing. ``ValueError`` for an empty one."""
        if sequences < 1 or tokens < 0:
            raise ValueError(f"empty minibatch: {sequences} sequences, {tokens} tokens")
        self._batch, self._sequences, self._tokens = batch, sequences, tokens

    @contextmanager
    def on(self, batch: Any, *, sequences: int, tokens: int) -> Iterator[None]:
        """Another minibatch inside the block (an anchor batch, a part of this one), then the step's own
        again."""
        own = (self._batch, self._sequences, self._tokens)
        self.set_batch(batch, sequences=sequences, tokens=tokens)
        try:
            yield
        finally:
            self._batch, self._sequences, self._tokens = own

    @property
    def batch(self) -> Any:
        """The current minibatch."""
        return self._batch

    def _charge(self, forwards: int) -> None:
        if self._sequences < 1:
            raise ValueError("no minibatch: call set_batch before asking for a loss")
        self.meter.charge(forwards, self._sequences, self._tokens)

    def elsewhere(self, forwards: int) -> None:
        """Book forwards of the current minibatch that another process runs for this step (see
        ``zobench.zo.distributed``)."""
        self._charge(forwards)

    def loss(self) -> float:
        """The loss at the current parameters. 1 forward. May be non-finite: the caller decides."""
        self._charge(1)
        with self._without_gradients():
            value = self._loss(self.module, self._batch)
        self.loss_dtype = value.dtype if isinstance(value, torch.Tensor) else torch.float32
        return float(value)

    def branches(self, parameters: Mapping[str, torch.Tensor]) -> list[float]:
        """Losses of n settings of the named parameters, stacked along dimension 0, in one batched run. n
        forwards.

        The named parameters are replaced functionally: the module's own are never written. The module must be
        traceable by ``torch.func.vmap``; ``ValueError`` says why where it is not.
        """
        count = next(iter(parameters.values())).shape[0]
        self._charge(count)
        closure = _Closure(self.module, self._loss)

        def one(values: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.func.functional_call(closure, values, (self._batch,))

        stacked = {f"module.{name}": value for name, value in parameters.items()}
        try:
            with torch.no_grad():
                losses = torch.func.vmap(one, randomness="error")(stacked)
        except RuntimeError as error:
            raise ValueError(f"this model or loss cannot run batched branches: {error}") from error
        return [float(value) for value in losses]

    def jvp(self, tangents: Mapping[str, torch.Tensor]) -> tuple[float, float]:
        """Loss and its exact derivative along ``tangents`` (by parameter name) in forward mode. 2 forwards.

        Attention must be written in operations that have a forward derivative (``eager``, not fused kernels).
        """
        self._require_differentiable("a Jacobian-vector product")
        self._charge(FORWARDS_PER_JVP)
        closure = _Closure(self.module, self._loss)
        named = dict(self.module.named_parameters())
        primals = {f"module.{name}": named[name].detach() for name in tangents}
        directions = {f"module.{name}": t.to(primals[f"module.{name}"].dtype) for name, t in tangents.items()}

        def run(values: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.func.functional_call(closure, values, (self._batch,))

        result = torch.func.jvp(run, (primals,), (directions,))
        return float(result[0].detach()), float(result[1].detach())

    def gradient(self, parameters: Mapping[str, nn.Parameter]) -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and its gradient by backpropagation, by parameter name. 3 forwards.

        Only the named parameters are differentiated; whether each asks for a gradient is as it was
        afterwards.
        """
        return self._differentiated(parameters, lambda: self._loss(self.module, self._batch))

    def reshaped_gradient(
        self, parameters: Mapping[str, nn.Parameter], shape: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[float, dict[str, torch.Tensor]]:
        """Mean of ``shape(losses)`` over the minibatch's items and its gradient. 3 forwards.

        Where only the minibatch's loss is known (no ``items``), that one loss is what is reshaped.
        """

        def reshaped() -> torch.Tensor:
            if self._items is None:
                return shape(self._loss(self.module, self._batch).reshape(1)).mean()
            return shape(self._items(self.module, self._batch)).mean()

        return self._differentiated(parameters, reshaped)

    def _differentiated(
        self, parameters: Mapping[str, nn.Parameter], value: Callable[[], torch.Tensor]
    ) -> tuple[float, dict[str, torch.Tensor]]:
        self._require_differentiable("a gradient")
        self._charge(FORWARDS_PER_GRADIENT)
        asked = {name: p.requires_grad for name, p in parameters.items()}
        try:
            for p in parameters.values():
                p.requires_grad_(True)
            with torch.enable_grad():
                loss = value()
                grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        finally:
            for name, p in parameters.items():
                p.requires_grad_(asked[name])
        return float(loss.detach()), {
            name: g if g is not None else torch.zeros_like(p)
            for (name, p), g in zip(parameters.items(), grads, strict=True)
        }

    def _require_differentiable(self, what: str) -> None:
        if not self.differentiable:
            raise ValueError(f"the objective was declared not differentiable: {what} does not exist")
