"""Noise bound to a space: standard directions of one tensor's tuned entries, addressed by (seed, name).

``CounterSource`` is the reference of this library: a function of (seed, key of the name, element index), so
that the order of calls, masks, devices and threads do not matter. ``LegacySource`` draws as the MeZO code
base does: one generator per seed, the tuned tensors one after another in the module's order, in their own
dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from zobench.zo import noise
from zobench.zo.draw_cache import DrawCache
from zobench.zo.noise.legacy import SEED_BOUND, LegacyStream
from zobench.zo.space.base import ParameterSpace

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind


class NoiseSource(ABC):
    """Draws for the tensors of one space. ``drawn`` counts the entries asked for, for the cost table."""

    def __init__(self, space: ParameterSpace) -> None:
        self.space = space
        self.keys = {name: noise.tensor_key(name) for name in space}
        self.drawn = 0

    @abstractmethod
    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        """``tensor += scale * u(seed)[name]`` in place; ``tensor`` has the shape ``space.shape(name)``."""

    def add_many_(
        self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float, kind: NoiseKind
    ) -> None:
        """``add_`` on each tensor, same bits."""
        for name, tensor in tensors.items():
            self.add_(tensor, name, seed, scale, kind)

    def draw(
        self, label: str, shape: tuple[int, ...], seed: int, kind: NoiseKind, device: torch.device
    ) -> torch.Tensor:
        """Auxiliary float32 noise (bases, masks, orders) that belongs to no tensor: addressed by its own
        label."""
        return noise.sample(
            shape, seed=seed, key=noise.tensor_key(label), kind=kind, device=device, dtype=torch.float32
        )


class CounterSource(NoiseSource):
    """u(seed)[name][i] from the counter-based generator, i the index in the unmasked tensor."""

    def __init__(self, space: ParameterSpace) -> None:
        super().__init__(space)
        self._kept = DrawCache(space, self.keys)

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        self.drawn += tensor.numel()
        index = self.space.indices(name)
        kept = self._kept.find(name, seed) if kind == "gaussian" and tensor.dtype == torch.float32 else None
        if kept is not None:
            factor = noise.to_float32(scale)
            if factor != 0.0:
                tensor.add_(kept * factor)
            return
        if index is None:
            noise.axpy_(tensor, scale, seed=seed, key=self.keys[name], kind=kind)
            return
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        draw = noise.gather(index, seed=seed, key=self.keys[name], kind=kind).reshape(tensor.shape)
        tensor.copy_(tensor.to(wide).add_(draw.to(device=tensor.device, dtype=wide).mul_(scale)))

    def add_many_(
        self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float, kind: NoiseKind
    ) -> None:
        if kind == "gaussian" and self._kept.serves(tensors):
            self.drawn += sum(tensor.numel() for tensor in tensors.values())
            self._kept.add_many_(tensors, seed, scale)
            return
        whole = {name: t for name, t in tensors.items() if self.space.indices(name) is None}
        self.drawn += sum(tensor.numel() for tensor in whole.values())
        keys = [self.keys[name] for name in whole]
        noise.axpy_many_(list(whole.values()), scale, seed=seed, keys=keys, kind=kind)
        for name in tensors.keys() - whole.keys():
            self.add_(tensors[name], name, seed, scale, kind)


class LegacySource(NoiseSource):
    """The MeZO code base's draws: ``manual_seed(seed)``, then ``normal`` per tensor in order, in the tensor's
    dtype.

    A cursor stores the position in the last seed's stream: visiting tensors in the module's order draws each
    value once; any other order redraws the preceding tensors. Only Gaussian, only unmasked. The global
    generator is not touched.
    """

    def __init__(self, space: ParameterSpace, seeds: tuple[int, ...] = (), run_seed: int = 0) -> None:
        super().__init__(space)
        self._order = list(space)
        self._given = seeds
        self._run_seed = run_seed
        self._stream: LegacyStream | None = None
        self._next = 0

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float, kind: NoiseKind) -> None:
        if kind != "gaussian":
            raise ValueError(f"legacy noise is Gaussian only, asked for {kind!r}")
        if self.space.indices(name) is not None:
            raise ValueError("legacy noise has no masked spaces")
        self.drawn += tensor.numel()
        tensor.add_(self._draw(name, seed) * scale)

    def seed_at(self, position: int) -> int:
        """Direction seed of the run's query number ``position``: given, or numpy's legacy stream in [0,
        1e9)."""
        if self._given:
            if position >= len(self._given):
                raise ValueError(
                    f"{len(self._given)} legacy seeds were given, query {position} needs one more"
                )
            return self._given[position]
        import numpy as np

        stream = np.random.RandomState(self._run_seed % 2**32)
        return int(stream.randint(SEED_BOUND, size=position + 1)[position])

    def descend_(
        self, tensor: torch.Tensor, name: str, seed: int, lr: float, slope: float, rate: float
    ) -> None:
        """``tensor -= lr * (slope * z + rate * tensor)`` in the tensor's own dtype, operation by
        operation."""
        self.drawn += tensor.numel()
        step = slope * self._draw(name, seed)
        tensor.sub_(lr * (step + rate * tensor) if rate else lr * step)

    def _draw(self, name: str, seed: int) -> torch.Tensor:
        position = self._order.index(name)
        if self._stream is None or seed != self._stream.seed or position < self._next:
            # A stream cannot be read backwards: an earlier tensor is drawn from the start again.
            self._stream, self._next = LegacyStream(seed), 0
        while True:
            draw = self._stream.draw(self.space.tensors[self._order[self._next]].data)
            self._next += 1
            if self._next == position + 1:
                return draw
