"""The Gaussian draws of recent seeds of a small space, kept so that a step does not draw them again.

One step of SPSA meets u(seed) three times: at +eps, at -eps and in the update. Drawing a Gaussian costs more
than reading it (a Rademacher does not), so a CPU source keeps whole draws while they fit ``KEEP_BYTES``; a
larger space, a mask, a half-precision or float64 tensor, and any other device draw as ever. What is added is
the same to the bit: a float32 multiplication, then a float32 addition.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from zobench.zo import noise
from zobench.zo.space.base import ParameterSpace

KEEP_BYTES = 64 << 20
"""Most memory for kept draws, one product included. Nothing else of a method is held by the space's size."""

Views = dict[str, torch.Tensor]


class KeptDraws:
    """u(seed) of the latest seeds as one flat float32 tensor each, oldest dropped first.

    Attributes:
        room: how many seeds fit; 0 where the space is none that draws are kept for.
    """

    def __init__(self, space: ParameterSpace, keys: Mapping[str, int]) -> None:
        self.space, self.keys = space, keys
        plain = all(
            space.indices(n) is None and space.dtype(n) == torch.float32 and t.device.type == "cpu"
            for n, t in space.tensors.items()
        )
        self.room = max(0, KEEP_BYTES // max(1, 4 * space.numel) - 1) if plain else 0
        self._drawn: dict[int, tuple[torch.Tensor, Views]] = {}
        self._product: tuple[torch.Tensor, Views] | None = None

    def serves(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether ``add_many_`` may be asked: all of the space, as plain float32 tensors."""
        return (
            self.room > 0
            and tensors.keys() == self.keys.keys()
            and all(t.dtype == torch.float32 for t in tensors.values())
        )

    def find(self, name: str, seed: int) -> torch.Tensor | None:
        """u(seed)[name] if that seed is kept; not to be written."""
        kept = self._drawn.get(seed)
        return None if kept is None else kept[1][name]

    def add_many_(self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float) -> None:
        """``tensor += scale * u(seed)[name]`` on every tensor of the space; draws the seed if it is not
        kept."""
        factor = noise.to_float32(scale)
        if factor == 0.0:
            return
        flat, _ = self._drawn.get(seed) or self._draw(seed)
        if self._product is None:
            self._product = self._flat()
        product, views = self._product
        torch.mul(flat, factor, out=product)
        torch._foreach_add_(list(tensors.values()), [views[name] for name in tensors])

    def _draw(self, seed: int) -> tuple[torch.Tensor, Views]:
        spare = self._drawn.pop(next(iter(self._drawn))) if len(self._drawn) >= self.room else self._flat()
        flat, views = spare
        # -0 + u = u for every u, either zero included.
        flat.fill_(-0.0)
        noise.axpy_many_(
            list(views.values()), 1.0, seed=seed, keys=[self.keys[name] for name in views], kind="gaussian"
        )
        self._drawn[seed] = spare
        return spare

    def _flat(self) -> tuple[torch.Tensor, Views]:
        flat = torch.empty(self.space.numel, dtype=torch.float32)
        parts = flat.split([self.space.size(name) for name in self.keys])
        return flat, {n: p.view(self.space.shape(n)) for n, p in zip(self.keys, parts, strict=True)}
