"""The objective: optimizers spend forward passes only through it.

It holds the model, the loss function, the current minibatch and the meter. One forward pass is the loss at
one parameter value on one minibatch of the suite's size. n batched branches count n, a Jacobian-vector
product counts 2, and a forward and backward pass together count 3.

The loss function may return a tensor or a plain number. If it is not a differentiable function of the weights
(accuracy, F1, a rank), pass ``differentiable=False``: gradients and Jacobian-vector products are then
refused; losses are computed as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo.train_mode import varying_part

FORWARDS_PER_JVP = 2
FORWARDS_PER_GRADIENT = 3


class BudgetExhausted(RuntimeError):
    """More forward passes were requested than the budget has left. Raised before anything is computed."""


@dataclass(slots=True)
class Meter:
    """Counts of what has been spent.

    Attributes:
        budget: maximum number of forward passes; ``None`` means unlimited.
        forwards: forward passes spent.
        sequences: sequences processed, summed over forward passes.
        tokens: tokens processed, summed over forward passes.
    """

    budget: int | None = None
    forwards: int = 0
    sequences: int = 0
    tokens: int = 0

    @property
    def remaining(self) -> int | None:
        return None if self.budget is None else self.budget - self.forwards

    def charge(self, forwards: int, sequences: int, tokens: int) -> None:
        """Count ``forwards`` forward passes of a minibatch of this size. If the budget does not suffice,
        raise :class:`BudgetExhausted` and count nothing."""
        if self.budget is not None and self.forwards + forwards > self.budget:
            raise BudgetExhausted(
                f"{forwards} forward passes requested, {self.budget - self.forwards} of {self.budget} left"
            )
        self.forwards += forwards
        self.sequences += forwards * sequences
        self.tokens += forwards * tokens


LossFunction = Callable[[nn.Module, Any], Any]


class _Closure(nn.Module):
    """``loss(module, batch)`` as a module, so that ``functional_call`` can replace the weights inside it."""

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
        loss: ``loss(module, batch)`` -> scalar tensor or number. It must run the given ``module``, never a
            stored copy.
        meter: budget and counts; a new unlimited meter by default.
        differentiable: False for losses that are not a differentiable function of the weights.
        inference: compute losses in torch's inference mode, which has less overhead per operation. Use it
            only if no gradient is requested afterwards: tensors that the module stores during such a forward
            pass cannot take part in differentiation.
        items: ``items(module, batch)`` -> vector of losses whose mean is the loss, for methods that treat
            examples separately (see :meth:`reshaped_gradient`).
        allow_train_mode: accept a model in training mode whose dropout draws anew in every forward pass or
            whose batch normalization changes its statistics. L(theta + eps u; B) and L(theta - eps u; B) are
            then losses of two different functions, and their difference is mostly that of the draws.

    Raises:
        ValueError: from ``set_batch``, if the model is in training mode (torch's default for a new module)
            and holds such a part; call ``model.eval()``.
    """

    loss_dtype: torch.dtype
    """dtype of the last loss that ``loss`` returned; float32 for plain numbers."""
    recorded = False
    """True for objectives that read losses from a record instead of running the model (see
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
        allow_train_mode: bool = False,
    ) -> None:
        self.module = module
        self._allow_train_mode = allow_train_mode
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
        """Set the minibatch of the coming step. Cost: no forward pass. ``ValueError`` if it is empty or the
        loss would differ between two forward passes at the same weights."""
        if sequences < 1 or tokens < 0:
            raise ValueError(f"empty minibatch: {sequences} sequences, {tokens} tokens")
        if not self._allow_train_mode and (part := varying_part(self.module)):
            raise ValueError(
                f"the model is in training mode, in which {part} differs between the forward passes of one "
                "step; call model.eval(), or pass Objective(..., allow_train_mode=True)"
            )
        self._batch, self._sequences, self._tokens = batch, sequences, tokens

    @contextmanager
    def on(self, batch: Any, *, sequences: int, tokens: int) -> Iterator[None]:
        """Use another minibatch inside the block (an anchor batch, a part of the current one). The step's
        minibatch is restored at its end."""
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
        """Count forward passes of the current minibatch that another process runs for this step (see
        ``zobench.zo.distributed``)."""
        self._charge(forwards)

    def loss(self) -> float:
        """The loss at the current parameters. It may be non-finite; the caller must check. Cost: 1 forward
        pass."""
        self._charge(1)
        with self._without_gradients():
            value = self._loss(self.module, self._batch)
        self.loss_dtype = value.dtype if isinstance(value, torch.Tensor) else torch.float32
        return float(value)

    def losses_of(self, stand_ins: Sequence[nn.Module]) -> list[float]:
        """The losses of modules that stand in for this objective's, in order. 1 forward each."""
        self._charge(len(stand_ins))
        with self._without_gradients():
            return [float(self._loss(module, self._batch)) for module in stand_ins]

    def branches(self, parameters: Mapping[str, torch.Tensor]) -> list[float]:
        """Losses of n settings of the named parameters, stacked along dimension 0, in one batched run. Cost:
        n forward passes.

        The named parameters are replaced functionally: the module's own tensors are never written. If
        ``torch.func.vmap`` cannot run the module, ``ValueError`` gives the reason.
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
        self.loss_dtype = losses.dtype
        return [float(value) for value in losses]

    def jvp(self, tangents: Mapping[str, torch.Tensor]) -> tuple[float, float]:
        """Loss and its exact derivative along ``tangents`` (by parameter name) in forward mode. Cost: 2
        forward passes.

        Every operation needs a forward derivative: attention must be ``eager``, not a fused kernel.
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
        """Loss and its gradient by backpropagation, by parameter name. Cost: 3 forward passes.

        Only the named parameters are differentiated. Their ``requires_grad`` flags are restored afterwards.
        """
        return self._differentiated(parameters, lambda: self._loss(self.module, self._batch))

    def reshaped_gradient(
        self, parameters: Mapping[str, nn.Parameter], shape: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[float, dict[str, torch.Tensor]]:
        """Mean of ``shape(losses)`` over the minibatch's items, and its gradient. Cost: 3 forward passes.

        Without ``items``, ``shape`` is applied to the minibatch's loss.
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
            raise ValueError(f"the objective was declared not differentiable: {what} is not available")
