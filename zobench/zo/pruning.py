"""Task-aware pruning of linear layers with two calibration sets (arXiv 2510.22489, on Wanda's scores).

For a weight matrix W (o x n), with inputs x_j of root mean square a_j on general data and b_j on task data:

    s(W_ij; r) = |W_ij| r_j
    d_j = |a_j - b_j| / max(a_j, b_j);   j is shared if d_j <= threshold, else exclusive
    fused:  shared     (s(W_ij; a) + s(W_ij; b)) / 2
            exclusive  max(s(W_ij; a), s(W_ij; b)), the score under the set that owns the channel

The weights with the lowest scores in each row are set to zero. Threshold and the two fusion rules were not
found: relative difference 0.5, mean and maximum are choices. Root mean squares in place of norms make sets of
different sizes comparable. Cost: one forward pass per calibration minibatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from zobench.zo.layers import linear_layers
from zobench.zo.space.base import ParameterSpace
from zobench.zo.sparse import smallest

THRESHOLD = 0.5
Scores = Mapping[str, torch.Tensor]


class InputSizes:
    """Root mean squares of the inputs of each linear layer of a space, over the rows seen inside
    :meth:`watching`. Padding is left out if the module is called with an ``attention_mask`` of rows and
    positions."""

    def __init__(self, space: ParameterSpace) -> None:
        self.layers = linear_layers(space)
        self._module = space.module
        self._sums: dict[str, torch.Tensor] = {}
        self._rows: dict[str, int] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the block, forward passes of the module are counted."""
        masks: list[torch.Tensor] = []

        def entered(module: nn.Module, args: Any, kwargs: Any) -> None:
            mask = kwargs.get("attention_mask")
            masks[:] = [mask] if isinstance(mask, torch.Tensor) and mask.dim() == 2 else []

        def seen(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
            def hook(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
                x = args[0].detach()
                known = masks and tuple(masks[0].shape) == tuple(x.shape[:-1])
                rows = x[masks[0].bool()] if known else x.reshape(-1, x.shape[-1])
                total = rows.double().square().sum(0)
                self._sums[name] = self._sums[name] + total if name in self._sums else total
                self._rows[name] = self._rows.get(name, 0) + len(rows)

            return hook

        handles = [self._module.register_forward_pre_hook(entered, with_kwargs=True)]
        handles += [layer.register_forward_pre_hook(seen(name)) for name, layer in self.layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def sizes(self) -> dict[str, torch.Tensor]:
        """One vector of n values per layer, float64. ``ValueError`` if a layer has seen no row."""
        for name in self.layers:
            if not self._rows.get(name):
                raise ValueError(f"no input of {name!r} was seen: run the module on calibration data")
        return {name: (self._sums[name] / self._rows[name]).sqrt() for name in self.layers}


def channel_scores(space: ParameterSpace, sizes: Scores) -> dict[str, torch.Tensor]:
    """|W_ij| r_j of each layer in ``sizes``."""
    return {name: space.entries(name).detach().abs().double() * size for name, size in sizes.items()}


def fused_scores(
    space: ParameterSpace, general: Scores, task: Scores, threshold: float = THRESHOLD
) -> dict[str, torch.Tensor]:
    """The fused scores of the module's text. ``ValueError`` unless 0 <= threshold <= 1."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], not {threshold}")
    a, b = channel_scores(space, general), channel_scores(space, task)
    found = {}
    for name in a:
        exclusive = differences(general[name], task[name]) > threshold
        found[name] = torch.where(exclusive, torch.maximum(a[name], b[name]), (a[name] + b[name]) / 2)
    return found


def differences(general: torch.Tensor, task: torch.Tensor) -> torch.Tensor:
    """d_j; 0 for channels that are silent on both sets."""
    largest = torch.maximum(general, task)
    return torch.where(largest > 0, (general - task).abs() / largest.clamp_min(1e-300), 0.0)


def kept_by_row(scores: Scores, sparsity: float) -> dict[str, torch.Tensor]:
    """Masks that are False at the round(sparsity * n) lowest scores of each row; among equal scores, earlier
    positions are pruned first. ``ValueError`` unless 0 <= sparsity < 1."""
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), not {sparsity}")
    masks = {}
    for name, values in scores.items():
        pruned = round(sparsity * values.shape[1])
        masks[name] = torch.stack([~smallest(row, pruned) for row in values])
    return masks


@torch.no_grad()
def prune(module: nn.Module, masks: Scores, remove: Callable[[], None] | None = None) -> ParameterSpace:
    """Set the weights outside the masks to zero and return the space of those that are kept (kind
    ``masked``): a method on this space changes no pruned weight. ``remove``: called when the space is
    removed."""
    named = dict(module.named_parameters())
    for name, mask in masks.items():
        named[name].mul_(mask)
    indices = {name: mask.reshape(-1).nonzero()[:, 0] for name, mask in masks.items()}
    return ParameterSpace(module, list(masks), kind="masked", indices=indices, remove=remove)


def sizes_on(space: ParameterSpace, runs: Iterable[Callable[[], object]]) -> dict[str, torch.Tensor]:
    """The inputs' sizes over these forward passes of the module."""
    seen = InputSizes(space)
    with seen.watching(), torch.no_grad():
        for run in runs:
            run()
    return seen.sizes()
