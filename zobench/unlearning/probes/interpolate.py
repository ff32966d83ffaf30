"""The straight line from the model before unlearning to the unlearned one, and beyond.

    theta(a) = theta_0 + a (theta_u - theta_0)

a = 1 is the unlearned model, a = 0 the original. A monotone score along the line shows that the two are
connected without a barrier. Matched comparisons interpolate along the same line.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from zobench.parameters import NonEmpty, Parameters
from zobench.unlearning.base import Material, ModelProbe, Variant
from zobench.unlearning.probes.weights import state


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig(Parameters):
    """Points on the line.

    Attributes:
        positions: values of a.
    """

    positions: Annotated[tuple[float, ...], NonEmpty()] = (0.0, 0.25, 0.5, 0.75, 1.0)


@torch.no_grad()
def between(original: nn.Module, module: nn.Module, position: float) -> nn.Module:
    """A copy at theta(a); at a = 0 and a = 1 it is bit-identical to the two models."""
    changed = copy.deepcopy(original if position == 0 else module)
    if position in (0, 1):
        return changed
    before = state(original)
    for name, p in changed.named_parameters():
        p.copy_(before[name] + position * (p - before[name]))
    return changed


class Interpolate(ModelProbe):
    """A copy at each position; ``strength`` is 1 - a, the distance back. Needs ``material.original``."""

    Config = InterpolateConfig
    name: ClassVar[str] = "interpolate"
    config: InterpolateConfig

    def variants(self, module: nn.Module, material: Material) -> Iterator[Variant]:
        if material.original is None:
            raise ValueError("interpolation needs the model before unlearning (material.original)")
        for position in self.config.positions:
            yield Variant(1.0 - position, between(material.original, module, position))
