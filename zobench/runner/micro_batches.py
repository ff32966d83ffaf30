"""Minibatches that are computed in parts (``budget: {micro_batch: m}``).

The loss of a minibatch is the mean over its items (examples, or answer tokens where the loss is a mean over
tokens), so that parts count by their numbers of items:

    L = (sum over parts p of n_p L_p) / (sum over parts p of n_p)

It equals the loss of the whole up to rounding (padding differs between parts): a relative difference of 1e-5
in float32. Directions of methods depend on such bits, so ``micro_batch`` is part of a run's identity and is
never changed silently. One loss still counts as one forward pass. A gradient keeps the activations of all
parts: only methods without gradients need less memory.
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
    """The minibatch of ``rows`` as parts of ``size`` examples; the last may be smaller."""
    groups = [rows[i : i + size] for i in range(0, len(rows), size)]
    parts = [(make(group), len(group)) for group in groups]
    return Batch({_PARTS: parts}, sum(p.sequences for p, _ in parts), sum(p.tokens for p, _ in parts))


def parts_of(batch: Any) -> list[tuple[Batch, int]]:
    """The parts of a minibatch with their numbers of examples; empty if it is whole."""
    found: list[tuple[Batch, int]] = batch.inputs.get(_PARTS, []) if isinstance(batch, Batch) else []
    return found


def loss_in_parts(items: Callable[[Batch], torch.Tensor], parts: list[tuple[Batch, int]]) -> torch.Tensor:
    """The formula of the module, one part after the other. A task that does not tell its items has one item
    for each part; its parts count by their examples."""
    total, count = torch.zeros(()), 0
    for part, examples in parts:
        losses = items(part)
        n = examples if len(losses) == 1 else len(losses)
        total = total.to(losses.device) + losses.float().mean() * n
        count += n
    return total / count
