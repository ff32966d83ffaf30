"""Directions of whole levels for the space ``codes``: rounded noise that keeps every code inside its range.

Both directions depend on the current codes w, because a move that would leave [-top, top] is dropped or cut.
A direction is therefore a function of (seed, sign, weights of the step). ``add_`` uses the sign of ``scale``:
the member -u of a pair is kept inside the range by itself.
"""

from __future__ import annotations

import math

import torch

from zobench.zo import noise
from zobench.zo.directions import Direction
from zobench.zo.engine import BoundEngine
from zobench.zo.source import LegacySource, NoiseSource
from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.codes import CodeSpace


def code_space(space: ParameterSpace) -> CodeSpace:
    """The space with its range of codes. ``ValueError`` for another kind of space."""
    if not isinstance(space, CodeSpace):
        raise ValueError(f"needs the space 'codes', not {space.kind!r}")
    return space


def exact_only(engine: BoundEngine, what: str) -> None:
    """``ValueError`` in mode ``in-place``: a move depends on the codes, which must not be displaced."""
    if not engine.perturbation.exact:
        raise ValueError(f"{what} does not run in mode {engine.mode!r}; use 'snapshot'")


def stochastic_levels(values: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """floor(x), or floor(x) + 1 where the uniform draw is below x - floor(x): the mean over draws is x."""
    low = values.floor()
    return low + (draw < values - low).to(values.dtype)


def dropped(codes: torch.Tensor, moves: torch.Tensor, top: int) -> torch.Tensor:
    """The moves, 0 where the moved code would be outside [-top, top]."""
    return torch.where((codes + moves).abs() <= top, moves, torch.zeros_like(moves))


class Levels(Direction):
    """Base of directions of whole levels."""

    def __init__(self, source: NoiseSource) -> None:
        if isinstance(source, LegacySource):
            raise ValueError("directions of whole levels need noise 'counter'")
        super().__init__(source)
        self.codes = code_space(source.space)

    def uniform(self, name: str, seed: int, label: str) -> torch.Tensor:
        """Uniform float32 numbers in [0, 1) for a tensor, a stream of their own per label."""
        device = self.space.tensors[name].device
        shape = tuple(self.space.shape(name))
        return self.source.draw(f"{name}/{label}", shape, seed, "uniform", device)

    def now(self, name: str) -> torch.Tensor:
        """The codes of the current step as float32 or float64."""
        values = self.space.entries(name).detach()
        return values if values.dtype == torch.float64 else values.float()

    def move(self, name: str, seed: int, sign: float) -> torch.Tensor:
        """The move of the member ``sign`` u inside the range; u itself has sign 1."""
        raise NotImplementedError

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        moved = self.move(name, seed, math.copysign(1.0, scale)).mul_(abs(scale))
        tensor.copy_(moved.add_(tensor.to(moved.dtype)))


class RoundedNoise(Levels):
    """u = SR(sigma N(seed)), stochastic rounding to whole levels; moves that leave the range are dropped.

    Args:
        source: counter-based noise of a space ``codes``.
        sigma: standard deviation of the noise in levels.
        stream: name of the rounding: two roundings of one noise are independent.
    """

    def __init__(self, source: NoiseSource, sigma: float, stream: str = "rounding") -> None:
        super().__init__(source)
        self.sigma, self.stream = sigma, stream

    def rounded(self, name: str, seed: int) -> torch.Tensor:
        """u before the range is applied, at most 2 top in magnitude."""
        values = torch.zeros_like(self.now(name))
        self.source.add_(values, name, seed, self.sigma, "gaussian")
        draw = self.uniform(name, noise.derive_seed(self.stream, seed), self.stream)
        limit = 2.0 * self.codes.top
        return stochastic_levels(values, draw.to(values.dtype)).clamp_(-limit, limit)

    def move(self, name: str, seed: int, sign: float) -> torch.Tensor:
        return dropped(self.now(name), self.rounded(name, seed).mul_(sign), self.codes.top)
