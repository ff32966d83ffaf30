"""Minibatches that are computed in parts (``budget: {micro_batch: m}``).

The loss of a minibatch is the mean over its items (examples, or answer tokens if the loss is a mean over
tokens). Each part p is therefore weighted by its number of items n_p:

    L = (sum over parts p of n_p L_p) / (sum over parts p of n_p)

This equals the loss of the whole minibatch up to rounding (padding differs between parts): a relative
difference of 1e-5 in float32. Such differences change the course of a run, so ``micro_batch`` is part of a
run's identity and is never changed silently. One loss still counts as one forward pass. A gradient needs the
activations of all parts, so only methods without gradients save memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from zobench.tasks.base import Batch

if TYPE_CHECKING:
    from zobench.data.example import Example

_PARTS = "micro_batches"


def joined(make: Callable[[Sequence[Example]], Batch], rows: Sequence[Example], size: int) -> Batch:
    """The minibatch of the examples ``rows`` in parts of ``size`` examples; the last may be smaller."""
    groups = [rows[i : i + size] for i in range(0, len(rows), size)]
    parts = [(make(group), len(group)) for group in groups]
    return Batch({_PARTS: parts}, sum(p.sequences for p, _ in parts), sum(p.tokens for p, _ in parts))


def parts_of(batch: Any) -> list[tuple[Batch, int]]:
    """The parts of a minibatch with their numbers of examples; empty if it is not divided."""
    found: list[tuple[Batch, int]] = batch.inputs.get(_PARTS, []) if isinstance(batch, Batch) else []
    return found


def loss_in_parts(items: Callable[[Batch], torch.Tensor], parts: list[tuple[Batch, int]]) -> torch.Tensor:
    """The formula of the module's docstring, computed one part after the other. If ``items`` returns only one
    loss per part, parts are weighted by their numbers of examples."""
    total, count = torch.zeros(()), 0
    for part, examples in parts:
        losses = items(part)
        n = examples if len(losses) == 1 else len(losses)
        total = total.to(losses.device) + losses.float().mean() * n
        count += n
    return total / count
