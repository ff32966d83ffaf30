"""Low-rank directions: A B^T for matrices, plain Gaussian noise for all other tensors.

A tensor with two or more dimensions is treated as a matrix with m = shape[0] rows and n = product of the
other dimensions as columns. One-dimensional tensors, matrices of one row or column (except in ``Projected``),
and masked tensors (their entries form a list) get N(0, I). The rank is clipped to what a matrix allows, see
``size``. Bases that last longer than a step are functions of (run seed, interval, tensor name).
``refresh(step)`` changes to the interval ``step // interval``, so that perturbation and update of one step
always use the same basis, also in the first step of an interval.

Scales (E over all draws of <G, u> u for a matrix gradient G, and the size of one entry of u):

============== ========================= =========================== =================
class          u                         E[<G, u> u]                 variance per entry
============== ========================= =========================== =================
``LazyRight``  U V^T, U per seed         r G                         r
``Projected``  P Z, P^T P = I            (r / m) G                   r / m
``Sandwiched`` sqrt(mn)/r U Z V^T        G                           1
``Temporal``   U diag(tau) V^T           r G                         r
``Paired``     A B^T / sqrt(r)           G                           1
============== ========================= =========================== =================

Except for ``Paired``, this holds on average over bases only. Within one interval, the estimate is that of the
gradient projected by the basis.

The bits of u do not depend on threads, BLAS or device: factors are multiples of 2^-18 (Gaussian) or 2^-24
(orthonormal), so that every partial sum of A B^T fits into the 53 bits of float64. The product is therefore
exact in any order of summation, and it is then rounded once. The one exception is the QR of the orthonormal
bases (float64 LAPACK): its last bits disappear in the rounding except for about one entry in 10^8.

Memory: a basis is stored in float64 during its interval, at most 8 r (m + n) bytes per matrix. It is rebuilt
from its seed and is not part of the optimizer state.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from zobench.zo import noise
from zobench.zo.directions import Direction, Gaussian
from zobench.zo.source import LegacySource, NoiseSource

if TYPE_CHECKING:
    from zobench.zo.noise import NoiseKind

GAUSSIAN_GRID = 2.0**18
UNIT_GRID = 2.0**24
ROW_BLOCK = 1 << 18
"""Entries per block of rows on a CPU: a block stays in cache, which is 5 times faster than one large product
at rank 2."""
ROW_BLOCK_DEVICE = 1 << 24
"""Entries per block of rows on other devices."""


class LowRank(Direction):
    """u(seed)[W] = gain A B^T with factors defined by a subclass; Gaussian for vectors.

    Args:
        source: counter-based noise of the space.
        seed: run seed, from which bases are derived.
        rank: r before it is clipped per matrix.
        interval: number of steps for which a basis is used; 0: the whole run.

    Raises:
        ValueError: the source is a legacy one.
    """

    def __init__(self, source: NoiseSource, *, seed: int, rank: int, interval: int = 0) -> None:
        if isinstance(source, LegacySource):
            raise ValueError("low-rank directions need noise 'counter': the legacy draws are full-rank")
        super().__init__(source)
        self.seed, self.rank, self.interval = seed, rank, interval
        self.index = 0
        self._vector = Gaussian(source)
        self._kept: dict[str, tuple[torch.Tensor, ...]] = {}

    right_stands = False
    """Whether B is the same for all seeds of an interval, the last of its ``basis``."""

    @abstractmethod
    def factors(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A (m x r) and B (n x r) in float64, rounded to the grids that make A B^T exact."""

    def make_basis(self, name: str, seed: int) -> tuple[torch.Tensor, ...]:
        """The factors that are constant during an interval; an empty tuple by default."""
        return ()

    def gain(self, name: str) -> float:
        """The number by which A B^T is multiplied."""
        return 1.0

    def refresh(self, step: int) -> None:
        index = step // self.interval if self.interval else 0
        if index != self.index:
            self.index, self._kept = index, {}

    def basis(self, name: str) -> tuple[torch.Tensor, ...]:
        """The constant factors of the current interval."""
        if name not in self._kept:
            self._kept[name] = self.basis_at(name, self.index)
        return self._kept[name]

    def basis_at(self, name: str, index: int) -> tuple[torch.Tensor, ...]:
        """The constant factors of any interval, computed from their seed."""
        return self.make_basis(name, noise.derive_seed("basis", self.seed, index))

    def is_matrix(self, name: str) -> bool:
        """Whether this tensor is displaced along A B^T."""
        shape = self.space.shape(name)
        return len(shape) >= 2 and min(shape[0], math.prod(shape[1:])) > 1

    def size(self, name: str) -> tuple[int, int, int]:
        """m, n and the rank r of a matrix, clipped to min(m, n)."""
        shape = self.space.shape(name)
        m, n = shape[0], math.prod(shape[1:])
        return m, n, min(self.rank, m, n)

    def kind_on(self, name: str) -> NoiseKind | None:
        return None if self.is_matrix(name) else "gaussian"

    def lefts(self, names: Sequence[str], seed: int) -> dict[str, torch.Tensor]:
        """A of these matrices."""
        return {name: self.factors(name, seed)[0] for name in names}

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if not self.is_matrix(name):
            self._vector.add_(tensor, name, seed, scale)
            return
        self.source.drawn += tensor.numel()
        a, b = self.factors(name, seed)
        add_product_(tensor, a, b, scale * self.gain(name))

    def add_many_(self, tensors: Mapping[str, torch.Tensor], seed: int, scale: float) -> None:
        vectors = {name: tensor for name, tensor in tensors.items() if not self.is_matrix(name)}
        self._vector.add_many_(vectors, seed, scale)
        for name, tensor in tensors.items():
            if name not in vectors:
                self.add_(tensor, name, seed, scale)

    def add_rows_(self, tensor: torch.Tensor, name: str, rows: torch.Tensor, seed: int, scale: float) -> bool:
        if not self.is_matrix(name):
            return self._vector.add_rows_(tensor, name, rows, seed, scale)
        a, b = self.factors(name, seed)
        # Factors of another shape (``Sandwiched`` with ``near_square``) do not have the tensor's rows.
        if (a.shape[0], b.shape[0]) != tuple(self.space.shape(name)):
            return False
        self.source.drawn += tensor.numel()
        add_product_(tensor, a[rows], b, scale * self.gain(name))
        return True

    def gaussian(self, label: str, shape: tuple[int, ...], seed: int, name: str) -> torch.Tensor:
        """N(0, 1) noise addressed by ``name`` and ``label``, rounded to multiples of 2^-18."""
        device = self.space.tensors[name].device
        return on_grid(self.source.draw(f"{name}/{label}", shape, seed, "gaussian", device), GAUSSIAN_GRID)

    def orthonormal(self, label: str, shape: tuple[int, int], seed: int, name: str) -> torch.Tensor:
        """Haar-distributed orthonormal columns (QR of a Gaussian), rounded to multiples of 2^-24."""
        # LAPACK does not fix the signs of the columns: with the signs of diag(R), Q is unique and Haar.
        q, r = torch.linalg.qr(self.gaussian(label, shape, seed, name))
        signs = torch.where(r.diagonal() < 0, -1.0, 1.0).to(q)
        return on_grid(q * signs, UNIT_GRID)


def on_grid(values: torch.Tensor, grid: float) -> torch.Tensor:
    """``values`` rounded to multiples of 1 / grid, float64."""
    return values.double().mul(grid).round_().div_(grid)


def on_own_grid(values: torch.Tensor) -> torch.Tensor:
    """``values`` in float64, rounded to multiples of 2^-23 times the power of two above the largest
    magnitude.

    For factors of any magnitude (momenta, orthogonalized blocks): their product with a factor on a fixed grid
    is then exact.
    """
    largest = float(values.abs().max())
    if largest == 0.0 or not math.isfinite(largest):
        return values.double()
    return on_grid(values, 2.0 ** (23 - math.frexp(largest)[1]))


def add_product_(tensor: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> None:
    """``tensor += scale * (a @ b.T)`` in place, with a (m x r) and b (n x r).

    Roundings: the product once, one multiplication, one addition, and one rounding to the tensor's dtype.
    Blocks of rows are processed one at a time, so that no float64 copy of a large matrix exists.
    """
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    rows = tensor.view(tensor.shape[0], -1) if tensor.is_contiguous() else tensor.flatten(1)
    block = ROW_BLOCK if tensor.device.type == "cpu" else ROW_BLOCK_DEVICE
    step = max(1, block // max(1, rows.shape[1]))
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        moved = (a[start : start + step] @ b.T).to(wide).mul_(scale)
        part.add_(moved) if part.dtype == wide else part.copy_(moved.add_(part.to(wide)))
    if not tensor.is_contiguous():
        tensor.copy_(rows.view(tensor.shape))


class LazyRight(LowRank):
    """U V^T with U (m x r) drawn per seed and V (n x r) constant during an interval, both N(0, 1) (LOZO).

    Args:
        reciprocal: multiply u by 1 / r on matrices (the scale of the paper's update).
    """

    right_stands = True

    def __init__(
        self, source: NoiseSource, *, seed: int, rank: int, interval: int, reciprocal: bool = False
    ) -> None:
        super().__init__(source, seed=seed, rank=rank, interval=interval)
        self.reciprocal = reciprocal

    def gain(self, name: str) -> float:
        return 1.0 / self.size(name)[2] if self.reciprocal else 1.0

    def make_basis(self, name: str, seed: int) -> tuple[torch.Tensor, ...]:
        _, n, r = self.size(name)
        return (self.gaussian("right", (n, r), seed, name),)

    def left(self, name: str, seed: int) -> torch.Tensor:
        """U of this seed."""
        m, _, r = self.size(name)
        return self.gaussian("left", (m, r), seed, name)

    def lefts(self, names: Sequence[str], seed: int) -> dict[str, torch.Tensor]:
        device = self.space.device
        if any(self.space.tensors[name].device != device for name in names):
            return super().lefts(names, seed)
        shapes = [(self.size(name)[0], self.size(name)[2]) for name in names]
        # -0 + u is u for every u; one call and one rounding for all of them.
        flat = torch.full((sum(m * r for m, r in shapes),), -0.0, device=device)
        parts = flat.split([m * r for m, r in shapes])
        keys = [noise.tensor_key(f"{name}/left") for name in names]
        noise.axpy_many_(parts, 1.0, seed=seed, keys=keys, kind="gaussian")
        rounded = on_grid(flat, GAUSSIAN_GRID).split([m * r for m, r in shapes])
        return {n: part.view(shape) for n, part, shape in zip(names, rounded, shapes, strict=True)}

    def factors(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.left(name, seed), self.basis(name)[0]


class Projected(LowRank):
    """P Z with P (m x r) orthonormal and constant during an interval, Z (r x n) ~ N(0, 1) per seed
    (ZO-Muon)."""

    def make_basis(self, name: str, seed: int) -> tuple[torch.Tensor, ...]:
        m, _, r = self.size(name)
        return (self.orthonormal("rows", (m, r), seed, name),)

    def is_matrix(self, name: str) -> bool:
        return len(self.space.shape(name)) >= 2

    def size(self, name: str) -> tuple[int, int, int]:
        """m, n and r; only the rows are projected, so r is clipped to m."""
        shape = self.space.shape(name)
        return shape[0], math.prod(shape[1:]), min(self.rank, shape[0])

    def inner(self, name: str, seed: int) -> torch.Tensor:
        """Z (r x n) of this seed."""
        _, n, r = self.size(name)
        return self.gaussian("inner", (r, n), seed, name)

    def factors(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.basis(name)[0], self.inner(name, seed).T


class Sandwiched(LowRank):
    """sqrt(mn) / r U Z V^T with U (m x r), V (n x r) orthonormal and constant during an interval, Z (r x r) ~
    N(0, 1) per seed (SubZero). E ||u||^2 equals that of a full Gaussian.

    Args:
        near_square: reshape the matrix as close to a square as its number of entries allows before it is
            factored (for adapters and prompts, whose matrices are thin).
    """

    def __init__(
        self, source: NoiseSource, *, seed: int, rank: int, interval: int, near_square: bool = False
    ) -> None:
        super().__init__(source, seed=seed, rank=rank, interval=interval)
        self.near_square, self.right_stands = near_square, not near_square

    def size(self, name: str) -> tuple[int, int, int]:
        m, n, _ = super().size(name)
        if self.near_square:
            m, n = _near_square(m * n)
        return m, n, min(self.rank, m, n)

    def gain(self, name: str) -> float:
        m, n, r = self.size(name)
        return math.sqrt(m * n) / r

    def make_basis(self, name: str, seed: int) -> tuple[torch.Tensor, ...]:
        m, n, r = self.size(name)
        return self.orthonormal("left", (m, r), seed, name), self.orthonormal("right", (n, r), seed, name)

    def factors(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        left, right = self.basis(name)
        r = left.shape[1]
        return on_grid(left @ self.gaussian("inner", (r, r), seed, name), GAUSSIAN_GRID), right

    def add_(self, tensor: torch.Tensor, name: str, seed: int, scale: float) -> None:
        if self.near_square and self.is_matrix(name):
            m, n, _ = self.size(name)
            reshaped = tensor.reshape(m, n)
            super().add_(reshaped, name, seed, scale)
            # ``reshape`` copied a tensor that is not contiguous.
            if reshaped.data_ptr() != tensor.data_ptr():
                tensor.copy_(reshaped.view(tensor.shape))
            return
        super().add_(tensor, name, seed, scale)


def _near_square(size: int) -> tuple[int, int]:
    rows = next(d for d in range(math.isqrt(size), 0, -1) if size % d == 0)
    return rows, size // rows


class Temporal(LowRank):
    """U diag(tau) V^T with U (m x r), V (n x r) ~ N(0, 1) for the whole run, tau ~ N(0, I_r) per seed
    (TeZO)."""

    right_stands = True

    def size(self, name: str) -> tuple[int, int, int]:
        """m, n and r, clipped to m n: r terms of rank one may span more than min(m, n) dimensions."""
        m, n, _ = super().size(name)
        return m, n, min(self.rank, m * n)

    def make_basis(self, name: str, seed: int) -> tuple[torch.Tensor, ...]:
        m, n, r = self.size(name)
        return self.gaussian("left", (m, r), seed, name), self.gaussian("right", (n, r), seed, name)

    def times(self, name: str, seed: int) -> torch.Tensor:
        """tau of this seed."""
        return self.gaussian("time", (self.size(name)[2],), seed, name)

    def factors(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        left, right = self.basis(name)
        return on_grid(left * self.times(name, seed), GAUSSIAN_GRID), right


class Paired(LowRank):
    """A B^T / sqrt(r) with A (m x r), B (n x r) ~ N(0, 1) per seed, drawn as one (m + n) x r matrix with A on
    top (EGGROLL)."""

    def gain(self, name: str) -> float:
        return 1.0 / math.sqrt(self.size(name)[2])

    def factors(self, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        m, n, r = self.size(name)
        both = self.gaussian("factors", (m + n, r), seed, name)
        return both[:m], both[m:]
