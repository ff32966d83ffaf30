"""The blocks of a language model, wherever its architecture keeps them."""

from __future__ import annotations

import math

from torch import nn


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The blocks of a language model, first to last: its one list of ``num_hidden_layers`` modules.

    Raises:
        ValueError: it has none, or several.
    """
    wanted = getattr(getattr(module, "config", None), "num_hidden_layers", None)
    found = [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) == wanted]
    if len(found) != 1:
        raise ValueError(f"a model with one list of blocks is needed; this one has {len(found)}")
    return list(found[0])


def block_number(layer: int | None, blocks: int) -> int:
    """The number of a block, from 1; ``None``: the middle one, ceil(blocks / 2).

    Raises:
        ValueError: there are not so many."""
    number = math.ceil(blocks / 2) if layer is None else layer
    if number > blocks:
        raise ValueError(f"layer {number} does not exist: the model has {blocks} blocks")
    return number
