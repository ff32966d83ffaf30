"""Directions scaled entry by entry, and the diagonal curvature that scales them.

``Scaled``: u(seed) = s * inner(seed), where s is a tensor or a number per parameter. The owner supplies s at
the time of the call (in HiZOO it changes between the probes and the update).

``DiagonalCurvature`` stores a positive diagonal H that starts at 1. It stores the excess H - 1 in float32
(float64 for float64 weights), so that increments far below the resolution of 1 accumulate. With ``factored``
it stores the row and column means of every matrix instead: H ~ rows columns^T / mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from zobench.zo.directions import Direction
from zobench.zo.source import LegacySource
from zobench.zo.space.base import ParameterSpace


class Scaled(Direction):
    """u(seed)[name] = scale_of(name) * inner(seed)[name], entry by entry.

    Args:
        inner: the direction that is scaled.
        scale_of: name -> tensor of the shape of the tuned entries, or a number.

    Raises:
        ValueError: the noise source is a legacy one.
    """

    def __init__(self, inner: Direction, scale_of: Callable[[str], torch.Tensor | float]) -> None:
        if isinstance(inner.source, LegacySource):
            raise ValueError("scaled directions need noise 'counter': the legacy update draws unscaled noise")
        super().__init__(inner.source)
        self.inner, self.scale_of = inner, scale_of

    def touches(self, name: str, seed: int) -> bool:
        return self.inner.touches(name, seed)

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        moved = self.inner.tensor(name, seed).mul_(self.scale_of(name)).mul_(scale)
        tensor.copy_(moved.add_(tensor.to(moved.dtype)))


class DiagonalCurvature:
    """H > 0 per entry, 1 at the start, updated by ``blend``.

    Args:
        space: the space whose entries it covers.
        factored: store row and column means of a matrix instead of every entry, if that is smaller.
    """

    def __init__(self, space: ParameterSpace, *, factored: bool = False) -> None:
        self.space, self.factored = space, factored
        self.excess: dict[str, torch.Tensor] = {}

    def is_factored(self, name: str) -> bool:
        shape = self.space.shape(name)
        return self.factored and len(shape) == 2 and shape[0] + shape[1] < shape[0] * shape[1]

    def value(self, name: str) -> torch.Tensor | float:
        """H of one tensor in the shape of its tuned entries; 1.0 before the first ``blend``."""
        if name not in self.excess:
            return 1.0
        held = self.excess[name] + 1.0
        if not self.is_factored(name):
            return held
        m = self.space.shape(name)[0]
        rows, columns = held[:m], held[m:]
        return rows[:, None] * columns[None, :] / rows.double().mean().to(rows)

    def inverse_root(self, name: str) -> torch.Tensor | float:
        """H^(-1/2) of one tensor."""
        value = self.value(name)
        return 1.0 if isinstance(value, float) else value.rsqrt()

    def blend(self, name: str, sample: torch.Tensor, alpha: float) -> None:
        """H <- (1 - alpha) H + alpha sample; with ``factored``, the same for the row and column means."""
        if self.is_factored(name):
            wide = sample.double()
            sample = torch.cat([wide.mean(dim=1), wide.mean(dim=0)]).to(sample.dtype)
        if name not in self.excess:
            self.excess[name] = torch.zeros_like(sample)
        held = self.excess[name]
        held.add_((sample - 1.0 - held).mul_(alpha))

    def state_dict(self) -> dict[str, Any]:
        return {name: tensor.clone() for name, tensor in self.excess.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.excess = {name: tensor.clone() for name, tensor in state.items()}
