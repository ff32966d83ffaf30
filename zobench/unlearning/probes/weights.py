"""The weights that weight probes change, and distances between models.

Weight probes change the matrices inside the blocks: weights of linear layers, but not the output head or a
matrix that is also an embedding. Embeddings represent a small model's words; damaging them is not informative
about forgetting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn


def matrices(module: nn.Module) -> dict[str, torch.Tensor]:
    """Name -> weight of every linear layer except the head and weights tied to an embedding; ``ValueError``
    if there is none."""
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    found = {
        f"{name}.weight": m.weight
        for name, m in module.named_modules()
        if isinstance(m, nn.Linear) and id(m.weight) not in embeddings and name.split(".")[-1] != "lm_head"
    }
    if not found:
        raise ValueError("the model has no linear layer besides its head: nothing for this probe to change")
    return found


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Detached parameters by name, tied ones once."""
    return {name: p.detach() for name, p in module.named_parameters()}


def distance(a: nn.Module, b: nn.Module) -> float:
    """||theta_a - theta_b|| over all parameters, summed in float64."""
    ours, theirs = state(a), state(b)
    if ours.keys() != theirs.keys():
        raise ValueError(f"the two models differ in parameters: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    total = sum(float(((ours[k].double() - theirs[k].double()) ** 2).sum()) for k in ours)
    return math.sqrt(total)


@torch.no_grad()
def write(module: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Copy values into the named parameters."""
    named = dict(module.named_parameters())
    for name, value in values.items():
        named[name].copy_(value)
