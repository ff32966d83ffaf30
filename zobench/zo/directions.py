"""Directions: a distribution over the space, addressed by a seed.

A direction object is bound to a space and its noise. ``u(seed)`` is a function of the seed only: measurement
and update use the same vector, in whatever order the tensors are visited. A new family of directions
implements one method, ``add_``. Bases and subsets must be functions of a seed too (``refresh(step)`` derives
the seed of the current interval); no tensor of an earlier step may be used.

Unless a class states otherwise, E[u u^T] = I, so that E[u <u, g>] = g.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from zobench.zo import noise
from zobench.zo.source import NoiseSource

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind


class Direction(ABC):
    """u(seed) over ``source.space``.

    Attributes:
        source: the bound noise.
        kind: the kind of noise if u(seed) is plain noise on every tensor; otherwise ``None``.
        fourth_moment: E[u_i^4] of one entry if the entries are independent, for the variance formula;
            otherwise ``None``.
    """

    fourth_moment: float | None = None
    kind: NoiseKind | None = None

    def __init__(self, source: NoiseSource) -> None:
        self.source = source
        self.space = source.space

    @abstractmethod
    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        """``tensor += scale * u(seed)[name]`` in place; ``tensor`` has the shape ``space.shape(name)``."""

    def add_many_(self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float) -> None:
        """``add_`` on each tensor that this seed touches: bit-identical, and faster for some directions."""
        for name, tensor in tensors.items():
            if self.touches(name, seed):
                self.add_(tensor, name, seed, scale)

    def displace_many_(
        self, out: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor], seed: int, scale: float
    ) -> None:
        """``out = base + scale * u(seed)[name]``, bit-identical to a copy followed by ``add_``."""
        if self.kind is not None:
            self.source.displace_many_(out, base, seed, scale, self.kind)
            return
        for name, tensor in out.items():
            tensor.copy_(base[name])
        self.add_many_(out, seed, scale)

    def branch_many_(
        self,
        outs: Sequence[Mapping[str, torch.Tensor]],
        base: Mapping[str, torch.Tensor],
        seed: int,
        scales: Sequence[float],
    ) -> None:
        """``displace_many_`` for each of several outputs and scales, with identical bits."""
        if self.kind is not None:
            self.source.branch_many_(outs, base, seed, scales, self.kind)
            return
        for out, scale in zip(outs, scales, strict=True):
            self.displace_many_(out, base, seed, scale)

    def add_rows_(self, tensor: torch.Tensor, name: str, rows: torch.Tensor, seed: int, scale: float) -> bool:
        """``tensor += scale * u(seed)[name][rows]`` for a matrix, bit-identical to ``add_``. Returns False
        and leaves the tensor unchanged if the direction can add to the whole tensor only."""
        if self.kind is None:
            return False
        return self.source.add_rows_(tensor, name, rows, seed, scale, self.kind)

    def kind_on(self, name: str) -> NoiseKind | None:
        """The kind of noise that u(seed) is on this tensor, entry by entry; ``None``: something else."""
        return self.kind

    def touches(self, name: str, seed: int) -> bool:
        """False if u(seed) is zero on this tensor: the tensor is then neither copied nor written."""
        return True

    def refresh(self, step: int) -> None:  # noqa: B027 - an optional hook
        """Called before step ``step`` is measured, to change to the next interval's basis or subset."""

    def seed_of(self, number: int) -> int:
        """A valid seed of this family for any 64-bit number. Overridden by families whose seeds encode a
        position or a block."""
        return number

    def tensor(self, name: str, seed: int) -> torch.Tensor:
        """u(seed)[name] as float32 (float64 for float64 tensors)."""
        dtype = torch.float64 if self.space.dtype(name) == torch.float64 else torch.float32
        out = torch.zeros(self.space.shape(name), dtype=dtype, device=self.space.tensors[name].device)
        self.add_(out, name, seed, 1.0)
        return out


class Gaussian(Direction):
    """u ~ N(0, I)."""

    fourth_moment = 3.0
    kind = "gaussian"

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        self.source.add_(tensor, name, seed, scale, "gaussian")

    def add_many_(self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float) -> None:
        self.source.add_many_(tensors, seed, scale, "gaussian")


class Rademacher(Direction):
    """u_i = +1 or -1 with equal probability."""

    fourth_moment = 1.0
    kind = "rademacher"

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        self.source.add_(tensor, name, seed, scale, "rademacher")

    def add_many_(self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float) -> None:
        self.source.add_many_(tensors, seed, scale, "rademacher")


class Sphere(Direction):
    """u = sqrt(d) z / ||z||, z ~ N(0, I): uniform on the sphere of radius sqrt(d), so that E[u u^T] = I.
    Cost: one more sweep per seed and step (for the norm)."""

    def __init__(self, source: NoiseSource) -> None:
        super().__init__(source)
        self._lengths: dict[int, float] = {}
        self._gaussian = Gaussian(source)

    def refresh(self, step: int) -> None:
        self._lengths.clear()

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        radius = math.sqrt(self.space.numel) / self._length(seed)
        self._gaussian.add_(tensor, name, seed, scale * radius)

    def _length(self, seed: int) -> float:
        # The norm is over all tensors, but ``add_`` is called for each: it is computed once per seed.
        if seed not in self._lengths:
            squares = (float(self._gaussian.tensor(n, seed).double().square().sum()) for n in self.space)
            self._lengths[seed] = math.sqrt(math.fsum(squares))
        return self._lengths[seed]


class Coordinate(Direction):
    """u = sqrt(d) e_i with i uniform over all tuned entries: E[u u^T] = I."""

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        owner, position = self.place(seed)
        if owner == name:
            tensor.view(-1)[position] += scale * math.sqrt(self.space.numel)

    def touches(self, name: str, seed: int) -> bool:
        return self.place(seed)[0] == name

    def place(self, seed: int) -> tuple[str, int]:
        """The tensor, and the position in its tuned entries, that this seed selects."""
        return self.space.locate(noise.derive_seed("coordinate", seed) % self.space.numel)


class Blocks(Direction):
    """An inner direction on a random subset of tensor groups per seed, scaled so that E[u u^T] = I.

    Args:
        groups: tensors that are active together (layers, modules). Every tuned tensor is in exactly one
            group.
        active: number of active groups per seed.
        rescale: multiply by sqrt(groups / active). Otherwise E[u u^T] is active / groups times the identity.
    """

    def __init__(
        self, inner: Direction, groups: Sequence[Sequence[str]], active: int, *, rescale: bool = True
    ) -> None:
        super().__init__(inner.source)
        named = sorted(n for group in groups for n in group)
        if named != sorted(self.space):
            raise ValueError("block groups must contain every tuned tensor exactly once")
        if not 1 <= active <= len(groups):
            raise ValueError(f"active must be between 1 and {len(groups)} groups, got {active}")
        self.inner, self.groups, self.active = inner, [tuple(g) for g in groups], active
        self._scale = math.sqrt(len(groups) / active) if rescale else 1.0

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if self.touches(name, seed):
            self.inner.add_(tensor, name, seed, scale * self._scale)

    def touches(self, name: str, seed: int) -> bool:
        return name in self.chosen(seed) and self.inner.touches(name, seed)

    def chosen(self, seed: int) -> frozenset[str]:
        """The tensors that are active for this seed."""
        # Groups are ranked by a hash of the seed: a uniform subset without a random generator.
        ranked = sorted(range(len(self.groups)), key=lambda g: noise.derive_seed("block", seed, g))
        return frozenset(n for g in ranked[: self.active] for n in self.groups[g])


class SparseMask(Direction):
    """An inner direction multiplied entry by entry by a 0/1 mask, which is fixed until the next
    ``set_masks``.

    The owner computes the masks from unperturbed weights. They are stored as bool tensors by name (one byte
    per entry). Tensors without a mask are not touched. On the entries that the mask keeps, u equals the inner
    direction.
    """

    def __init__(self, inner: Direction, masks: Mapping[str, torch.Tensor]) -> None:
        super().__init__(inner.source)
        self.inner = inner
        self.set_masks(masks)

    def set_masks(self, masks: Mapping[str, torch.Tensor]) -> None:
        for name, mask in masks.items():
            if mask.dtype != torch.bool or mask.shape != self.space.shape(name):
                raise ValueError(f"mask of {name!r} must be bool of shape {tuple(self.space.shape(name))}")
        self.masks = dict(masks)

    def touches(self, name: str, seed: int) -> bool:
        return name in self.masks

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if name not in self.masks:
            return
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        u = torch.zeros(tensor.shape, dtype=wide, device=tensor.device)
        self.inner.add_(u, name, seed, scale)
        # Selected, not multiplied by the mask: x + 0 would turn -0 into +0 on entries outside the mask.
        tensor.copy_(torch.where(self.masks[name], tensor.to(wide) + u, tensor.to(wide)))


def groups_by_layer(names: Sequence[str]) -> list[list[str]]:
    """Groups of tensors by layer: names that are equal up to the first number form a group. Every name
    without a number is a group of its own."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        cut = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        groups.setdefault(name if cut is None else ".".join(parts[: cut + 1]), []).append(name)
    return list(groups.values())
