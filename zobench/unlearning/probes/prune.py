"""Magnitude pruning: the smallest weights of all matrices together are set to zero."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from zobench.parameters import Fraction, NonEmpty, Parameters
from zobench.unlearning.base import Material, ModelProbe, Variant
from zobench.unlearning.probes.weights import matrices


@dataclass(frozen=True, kw_only=True)
class PruneConfig(Parameters):
    """Global magnitude pruning.

    Attributes:
        shares: shares of weights set to zero.
    """

    shares: Annotated[tuple[Fraction, ...], NonEmpty()] = (0.1, 0.2, 0.3, 0.5)


@torch.no_grad()
def prune_(module: nn.Module, share: float) -> None:
    """Set the floor(share * n) smallest of the n matrix entries to zero; ties by layer and position."""
    found = matrices(module)
    sizes = torch.cat([w.abs().flatten() for w in found.values()])
    count = int(share * len(sizes))
    if not count:
        return
    # Selected in place, not sorted: the order of 106 million entries alone takes 850 MB.
    ordered = sizes.to("cpu", torch.promote_types(sizes.dtype, torch.float32), copy=True).numpy()
    ordered.partition(count - 1)
    limit = float(ordered[count - 1])
    gone = sizes < limit
    gone[(sizes == limit).nonzero()[: count - int(gone.sum()), 0]] = True
    for weight, part in zip(found.values(), gone.split([w.numel() for w in found.values()]), strict=True):
        weight.masked_fill_(part.view_as(weight), 0.0)


class Prune(ModelProbe):
    """A pruned copy for each share; pruning it again by the same share has no effect. No forward pass."""

    Config = PruneConfig
    name: ClassVar[str] = "prune"
    config: PruneConfig

    def variants(self, module: nn.Module, material: Material) -> Iterator[Variant]:
        for share in self.config.shares:
            changed = copy.deepcopy(module)
            prune_(changed, share)
            yield Variant(share, changed)
