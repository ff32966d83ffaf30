"""Masks over a parameter space: which entries a sparse method perturbs and updates.

Masks have an exact number of entries: ties are broken by position, so that the share equals the requested
one, rounded to whole entries. Masks are computed from unperturbed values and stored by the method; displaced
weights are never read.

``Listed`` is a direction on a sorted list of positions per tensor. Time and memory are proportional to the
number of listed entries. ``zobench.zo.directions.SparseMask`` (one bool per entry) is its dense counterpart.
Both give the same numbers on the same entries.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from zobench.zo import noise
from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine
from zobench.zo.source import LegacySource, NoiseSource
from zobench.zo.space.base import ParameterSpace


def counter_only(engine: BoundEngine, what: str) -> None:
    """``ValueError`` with legacy noise, whose update supports plain full-size Gaussian directions only."""
    if engine.legacy is not None:
        raise ValueError(f"{what} needs noise 'counter': legacy noise supports plain Gaussian updates only")


def smallest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Bool mask of the ``count`` smallest values; among equal values, earlier positions are chosen first."""
    flat = values.reshape(-1)
    if count <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    if count >= flat.numel():
        return torch.ones_like(values, dtype=torch.bool)
    threshold = flat.kthvalue(count).values
    mask = flat < threshold
    equal = (flat == threshold).nonzero()[:, 0]
    mask[equal[: count - int(mask.sum())]] = True
    return mask.reshape(values.shape)


def kept_count(size: int, sparsity: float) -> int:
    """Number of entries out of ``size`` that remain if a share ``sparsity`` is zeroed; at least one."""
    return max(1, round((1.0 - sparsity) * size))


def random_masks(
    source: NoiseSource, seed: int, counts: Mapping[str, int], label: str
) -> dict[str, torch.Tensor]:
    """Bool masks of exactly ``counts[name]`` entries of each tensor, uniformly at random by ``seed``."""
    masks = {}
    for name, count in counts.items():
        shape = tuple(source.space.shape(name))
        draw = source.draw(f"{name}/{label}", shape, seed, "uniform", source.space.tensors[name].device)
        masks[name] = smallest(draw, count)
    return masks


def largest_positions(scores: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """Sorted flat positions of the ``count`` largest scores over all tensors together. Tensors without such
    entries are omitted. ``ValueError`` for scores that are not finite."""
    names = list(scores)
    flat = torch.cat([scores[n].detach().reshape(-1).float() for n in names])
    if not bool(flat.isfinite().all()):
        raise ValueError("scores must be finite")
    mask = smallest(-flat, count)
    found, start = {}, 0
    for name in names:
        size = scores[name].numel()
        positions = mask[start : start + size].nonzero()[:, 0]
        start += size
        if positions.numel():
            found[name] = positions
    return found


def share_kept(masks: Mapping[str, torch.Tensor], space: ParameterSpace) -> float:
    """Share of the space's entries that are True in the masks."""
    return sum(int(mask.sum()) for mask in masks.values()) / space.numel


class Listed(Direction):
    """Standard Gaussian noise at listed positions of the tuned entries, zero elsewhere: u = m * z.

    Args:
        source: counter-based noise.
        positions: sorted flat int64 positions in ``space.entries(name)``; omitted tensors are not touched.

    Raises:
        ValueError: a legacy source, or invalid positions (see ``set_positions``).
    """

    def __init__(self, source: NoiseSource, positions: Mapping[str, torch.Tensor]) -> None:
        if isinstance(source, LegacySource):
            raise ValueError("listed directions need noise 'counter'")
        super().__init__(source)
        self.set_positions(positions)

    def set_positions(self, positions: Mapping[str, torch.Tensor]) -> None:
        """Replace the positions. ``ValueError`` for unknown tensors, or positions that are unsorted or out of
        range."""
        for name, index in positions.items():
            if name not in self.space.tensors:
                raise ValueError(f"positions for {name!r}, which is not tuned")
            good = index.dim() == 1 and index.dtype == torch.int64 and bool((index.diff() > 0).all())
            if not good or not index.numel() or int(index[0]) < 0 or int(index[-1]) >= self.space.size(name):
                raise ValueError(f"positions of {name!r} must be int64, sorted, unique, inside the tensor")
        self.positions = {name: index.clone() for name, index in positions.items()}

    @property
    def count(self) -> int:
        """Total number of listed entries."""
        return sum(index.numel() for index in self.positions.values())

    def touches(self, name: str, seed: int) -> bool:
        return name in self.positions

    def draw(self, name: str, seed: int) -> torch.Tensor:
        """The float32 values at the listed positions."""
        # In a masked space positions count tuned entries; the generator is addressed by the unmasked tensor.
        index, own = self.positions[name], self.space.indices(name)
        self.source.drawn += index.numel()
        where = index if own is None else own[index]
        return noise.gather(where, seed=seed, key=self.source.keys[name], kind="gaussian")

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if name not in self.positions:
            return
        index = self.positions[name]
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        flat = tensor.view(-1)
        moved = self.draw(name, seed).to(device=tensor.device, dtype=wide).mul_(scale)
        flat[index] = moved.add_(flat[index].to(wide)).to(tensor.dtype)

    def state_dict(self) -> dict[str, Any]:
        return {name: index.clone() for name, index in self.positions.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.set_positions(state)


class Entry(Direction):
    """The coordinate vector e_i of one tuned entry; the seed is the position i in the whole space."""

    def seed_of(self, number: int) -> int:
        return number % self.space.numel

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        owner, position = self.place(seed)
        if owner == name:
            tensor.view(-1)[position] += scale

    def touches(self, name: str, seed: int) -> bool:
        return self.place(seed)[0] == name

    def place(self, seed: int) -> tuple[str, int]:
        """The tensor, and the position in its tuned entries, that this seed selects."""
        return self.space.locate(seed)


def parts_of(groups: Sequence[Sequence[str]], count: int) -> list[list[str]]:
    """``groups`` merged into ``count`` contiguous parts with nearly equal numbers of groups. If there are
    fewer groups than ``count``, single tensors are distributed instead, and there are at most as many parts
    as tensors."""
    units = [list(g) for g in groups]
    if len(units) < count:
        units = [[name] for group in groups for name in group]
    count = min(count, len(units))
    bounds = [round(i * len(units) / count) for i in range(count + 1)]
    return [[n for unit in units[a:b] for n in unit] for a, b in itertools.pairwise(bounds)]
