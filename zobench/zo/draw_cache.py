"""Cache of the Gaussian draws of recent seeds, for small spaces.

One step of SPSA uses u(seed) three times: at +eps, at -eps and in the update. Drawing a Gaussian costs more
than reading it (drawing a Rademacher does not), so a CPU source caches whole draws if they fit in
``KEEP_BYTES``. Larger spaces, masked spaces, half-precision or float64 tensors and other devices are not
cached. Cached and fresh draws give bit-identical sums: a float32 multiplication, then a float32 addition.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from zobench.zo import noise
from zobench.zo.space.base import ParameterSpace

KEEP_BYTES = 64 << 20
"""Memory limit of the cache, including the buffer for one product."""

Views = dict[str, torch.Tensor]


class DrawCache:
    """u(seed) of the latest seeds as one flat float32 tensor each, oldest dropped first.

    Attributes:
        room: how many seeds fit; 0 if draws are not cached for this space.
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
        """Whether ``add_many_`` accepts these tensors: all of the space, as plain float32 tensors."""
        return (
            self.room > 0
            and tensors.keys() == self.keys.keys()
            and all(t.dtype == torch.float32 for t in tensors.values())
        )

    def find(self, name: str, seed: int) -> torch.Tensor | None:
        """u(seed)[name] if that seed is cached, else ``None``; read only."""
        kept = self._drawn.get(seed)
        return None if kept is None else kept[1][name]

    def add_many_(self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float) -> None:
        """``tensor += scale * u(seed)[name]`` on every tensor of the space; draws the seed if it is not
        cached."""
        factor = noise.to_float32(scale)
        if factor == 0.0:
            return
        flat, _ = self._drawn.get(seed) or self._draw(seed)
        if self._product is None:
            self._product = self._flat()
        product, views = self._product
        # Two roundings (product, then sum), as the kernels make them; one fused multiply-add would differ.
        torch.mul(flat, factor, out=product)
        torch._foreach_add_(list(tensors.values()), [views[name] for name in tensors])

    def _draw(self, seed: int) -> tuple[torch.Tensor, Views]:
        # The oldest draw gives up its memory: a full cache allocates nothing.
        spare = self._drawn.pop(next(iter(self._drawn))) if len(self._drawn) >= self.room else self._flat()
        flat, views = spare
        # axpy adds to what is there. -0 + u = u for every u, -0 included; +0 + -0 would be +0.
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
