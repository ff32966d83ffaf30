"""Perturbed weights that a sweep writes before they are asked for.

One draw of u serves several points along it. A two-sided step asks for theta + eps u and theta - eps u: both
are written in the sweep that draws u. The sweep that updates the weights can write the first points of the
next step as well (``Engine(ahead=True)``), since their seed is known.

What was prepared is used only for exactly the point it was written for, and only while the weights are those
it was written from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from zobench.zo import noise
from zobench.zo.draw_cache import KEEP_BYTES, SHARE, free_bytes
from zobench.zo.space.base import ParameterSpace

if TYPE_CHECKING:
    from zobench.zo.directions import Direction

PREPARED = (torch.float32, torch.bfloat16)
"""Dtypes of weights that one sweep writes for several points."""

Values = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Coming:
    """Points that the next step will ask for first: theta + scale u(seed) for each scale."""

    direction: Direction
    seed: int
    scales: tuple[float, ...]


class Prepared:
    """Perturbed values by point, and the state of the weights that they were written from."""

    def __init__(self, space: ParameterSpace) -> None:
        self.space = space
        self._values: dict[tuple[Direction, int, float], Values] = {}
        self._from: object = None
        self._room: bool | None = None

    def possible(self) -> bool:
        """Whether another copy of the weights may be held: contiguous float32 or bfloat16 tensors on a CPU,
        unmasked, small or at most 1 / ``SHARE`` of the free memory."""
        if self._room is None:
            tensors = self.space.tensors
            plain = all(
                t.dtype in PREPARED
                and t.device.type == "cpu"
                and t.is_contiguous()
                and self.space.indices(n) is None
                for n, t in tensors.items()
            )
            size = sum(t.numel() * t.element_size() for t in tensors.values())
            self._room = plain and (size <= KEEP_BYTES or size * SHARE <= free_bytes())
        return self._room

    def keep(self, coming: Coming, outs: Sequence[Values]) -> None:
        """Hold the values of these points, written from the weights as they are now."""
        self._from = self._stamp()
        for scale, out in zip(coming.scales, outs, strict=True):
            self._values[coming.direction, coming.seed, noise.to_float32(scale)] = out

    def has(self, direction: Direction, seed: int, scale: float) -> bool:
        return self._fresh() and (direction, seed, noise.to_float32(scale)) in self._values

    def take(self, direction: Direction, seed: int, scale: float) -> Values | None:
        """The values of this point, if they were prepared from the present weights."""
        if not self._fresh():
            return None
        return self._values.pop((direction, seed, noise.to_float32(scale)), None)

    def drop(self) -> list[Values]:
        """Forget all points; returns their memory."""
        left, self._values = list(self._values.values()), {}
        return left

    def _fresh(self) -> bool:
        return bool(self._values) and self._from == self._stamp()

    def _stamp(self) -> object:
        """Changes with every write through the space and with every operation of torch on a parameter. Writes
        through ``parameter.data`` or a pointer are not seen."""
        tensors: Mapping[str, torch.Tensor] = self.space.tensors
        return self.space.writes, [(t.data_ptr(), t._version) for t in tensors.values()]
