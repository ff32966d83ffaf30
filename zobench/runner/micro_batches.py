"""Minibatches that are computed in parts (``budget: {micro_batch: m}``, and ``split`` by data).

The loss of a minibatch is the mean over its items (examples, or answer tokens if the loss is a mean over
tokens). Each part p is therefore weighted by its number of items n_p:

    L = (sum over parts p of n_p L_p) / (sum over parts p of n_p)

This equals the loss of the whole minibatch up to rounding (padding differs between parts): a relative
difference of 1e-5 in float32. Such differences change the course of a run, so ``micro_batch`` is part of a
run's identity and is never changed silently. One loss still counts as one forward pass. A gradient needs the
activations of all parts, so only methods without gradients save memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from zobench.tasks.base import Batch

if TYPE_CHECKING:
    from zobench.data.example import Example

_PARTS = "micro_batches"


def groups_of(rows: Sequence[Example], size: int | None, parts: int) -> list[Sequence[Example]]:
    """The examples in groups of ``size`` (the last may be smaller); without a size, in at most ``parts``
    groups whose sizes differ by at most 1."""
    if size is not None:
        return [rows[i : i + size] for i in range(0, len(rows), size)]
    ends = [i * len(rows) // parts for i in range(parts + 1)]
    return [rows[a:b] for a, b in itertools.pairwise(ends) if a < b]


def joined(make: Callable[[Sequence[Example]], Batch], groups: Sequence[Sequence[Example]]) -> Batch:
    """The minibatch of these groups of examples, one part for each."""
    parts = [(make(group), len(group)) for group in groups]
    return Batch({_PARTS: parts}, sum(p.sequences for p, _ in parts), sum(p.tokens for p, _ in parts))


def parts_of(batch: Any) -> list[tuple[Batch, int]]:
    """The parts of a minibatch with their numbers of examples; empty if it is not divided."""
    found: list[tuple[Batch, int]] = batch.inputs.get(_PARTS, []) if isinstance(batch, Batch) else []
    return found


def loss_in_parts(items: Callable[[Batch], torch.Tensor], parts: list[tuple[Batch, int]]) -> torch.Tensor:
    """The formula of the module's docstring, computed one part after the other. If ``items`` returns only one
    loss per part, parts are weighted by their numbers of examples."""
    means, counts = [], []
    for part, examples in parts:
        losses = items(part)
        means.append(losses.float().mean())
        counts.append(examples if len(losses) == 1 else len(losses))
    return mean_of_parts(means, counts)


def mean_of_parts(means: Sequence[torch.Tensor], counts: Sequence[int]) -> torch.Tensor:
    """The formula of the module's docstring, from scalars L_p and n_p."""
    total = torch.zeros(())
    for mean, n in zip(means, counts, strict=True):
        total = total.to(mean.device) + mean * n
    return total / sum(counts)
