"""Layers whose tuned tensors are displaced together, for modes ``streamed-paired`` and ``grouped``.

One sweep writes all tensors of a layer at both points, where a sweep for each module would spend as much time
in Python as in the kernel. Each of the two calls of the loss has a memory of its own of the size of the
largest layer; the tensors in it are made once for each layer and used again in every step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from zobench.zo.blocks import blocks_of
from zobench.zo.space.base import ParameterSpace

ALIGNED = 64
"""Each tensor begins at a multiple of so many bytes."""


@dataclass(eq=False)
class Layer:
    """A layer.

    Attributes:
        module: the layer.
        places: where its tuned tensors are: (module, the module's own name, name in the space).
        names: the tensors, each once.
        stand_ins: for each call, the tensors that replace the parameters, by name in the space.
    """

    module: nn.Module
    places: list[tuple[nn.Module, str, str]]
    names: list[str] = field(default_factory=list)
    stand_ins: list[dict[str, nn.Parameter]] = field(default_factory=list)


def layers_of(space: ParameterSpace) -> list[Layer]:
    """The layers whose tensors are all tuned whole; none if the model has no list of layers."""
    try:
        blocks = [block for block in blocks_of(space) if block.layer]
    except ValueError:
        return []
    names = {id(p): name for name, p in space.tensors.items()}
    found = []
    for block in blocks:
        places = [
            (part, key, names[id(p)])
            for part in block.module.modules()
            for key, p in part._parameters.items()
            if p is not None and id(p) in names
        ]
        if all(space.indices(name) is None for _, _, name in places):
            found.append(Layer(block.module, places, list(dict.fromkeys(name for _, _, name in places))))
    return found


def lay_out(layers: Iterable[Layer], space: ParameterSpace, count: int = 2) -> list[torch.Tensor]:
    """Give each layer its tensors in ``count`` memories; returns the memories."""
    chosen = list(layers)
    sizes = {layer: _offsets(layer, space)[1] for layer in chosen}
    # ``standing`` of mode ``streamed`` says why these are parameters and not made in inference mode.
    with torch.inference_mode(False), torch.no_grad():
        memories = [torch.empty(max(sizes.values(), default=0), dtype=torch.uint8) for _ in range(count)]
        for layer in chosen:
            layer.stand_ins = [_placed(layer, space, memory) for memory in memories]
    return memories


def _offsets(layer: Layer, space: ParameterSpace) -> tuple[dict[str, int], int]:
    at, found = 0, {}
    for name in layer.names:
        found[name] = at
        size = space.tensors[name].numel() * space.tensors[name].element_size()
        at += -(-size // ALIGNED) * ALIGNED
    return found, at


def _placed(layer: Layer, space: ParameterSpace, memory: torch.Tensor) -> dict[str, nn.Parameter]:
    found = {}
    for name, offset in _offsets(layer, space)[0].items():
        own = space.tensors[name]
        part = memory[offset : offset + own.numel() * own.element_size()]
        found[name] = nn.Parameter(part.view(own.dtype).view(own.shape), requires_grad=own.requires_grad)
    return found


def apart(output: Any, memories: Iterable[torch.Tensor]) -> Any:
    """The output with copies of the tensors that lie in these memories, which the next layer overwrites; the
    output itself if there are none."""
    taken = {memory.untyped_storage().data_ptr() for memory in memories}

    def inside(leaf: Any) -> bool:
        return isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() in taken

    if not any(inside(leaf) for leaf in tree_leaves(output)):
        return output
    return tree_map(lambda leaf: leaf.clone() if inside(leaf) else leaf, output)
