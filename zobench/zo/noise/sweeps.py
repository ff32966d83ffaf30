"""Fused sweeps over many float32 or bfloat16 CPU tensors, compiled by numba: each entry is read and written
once.

``displace``: out_b = base + scale_b * u(seed, key) for one or several branches b. ``descend``: theta =
factor * theta + sum_k scale_k u(seed_k, key); for bfloat16, the rules of ``zobench.zo.precision`` are applied
in the same sweep, and the branches of the next step can be written in it. Results are bit-identical
to separate copying, conversion and addition: the same float32 operations in the same order, each rounded,
and one rounding to the tensor's dtype at the end.

A draw is generated tile by tile in scratch memory, or generated into a cached tensor, or read from one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch

from zobench.zo.noise import philox
from zobench.zo.noise.cpu import _SCRATCH, _TABLE, PARALLEL_FROM, TILE, _common, _compiled, _pointer, _tile

ANEW, KEEPING, KEPT = 0, 1, 2
"""Source of a piece's draw: generated in scratch memory, generated into the cached tensor, read from it."""
NEAREST, COMPENSATED, MASTER = 0, 1, 2
"""Rounding rules of ``descend`` for bfloat16."""
PIECE = 1 << 20
"""Entries per piece, the unit that is distributed over threads; a multiple of the tile."""

_U16, _S32 = np.uint32(16), np.uint64(32)
_MASK = np.uint64(philox.MASK)
_BELOW_HALF, _BIT, _NAN = np.uint32(0x7FFF), np.uint32(1), np.uint32(0x7FC00000)
_UPPER = np.uint32(0xFFFF0000)
_AT, _OUTS = "uint64[::1]", "uint64[:, ::1]"
_DRAW = f"float32[::1], int64, uint64, {_TABLE}, {_SCRATCH}"


@numba.njit(inline="always")
def _wide(half: Any) -> Any:
    """The float32 value of a bfloat16 given by its bits."""
    return np.uint32(np.uint32(half) << _U16).view(np.float32)


@numba.njit(inline="always")
def _rounded(value: Any) -> Any:
    """The nearest bfloat16, ties to even, as the upper half of 32 bits; the lower half is 0."""
    # Adding half a unit minus one, plus the lowest kept bit, and cutting off 16 bits rounds ties to even. It
    # would overflow for NaN, which is therefore set separately.
    bits = np.float32(value).view(np.uint32)
    rounded = np.uint32(bits + _BELOW_HALF + ((bits >> _U16) & _BIT)) & _UPPER
    return np.uint32(_NAN if value != value else rounded)


@numba.njit(inline="always")
def _narrow(value: Any) -> Any:
    """Bits of the nearest bfloat16, ties to even."""
    return np.uint16(_rounded(value) >> _U16)


@_compiled(f"float32[::1](uint64, int64, int64, int64, uint64, uint64, uint64, {_DRAW})")
def _drawn(
    kept: Any, how: Any, low: Any, size: Any, start: Any, seed: Any, key: Any,
    noise: Any, code: Any, tag: Any, knots: Any, words: Any, index: Any, loaded: Any,
) -> Any:  # fmt: skip
    """The draw for entries low .. low+size of a piece that starts at element ``start`` of its tensor."""
    if how == ANEW:
        u = noise[:size]
    else:
        u = numba.carray(_pointer(kept), (low + size,), np.float32)[low:]  # type: ignore[call-arg]
    if how != KEPT:
        stream = (tag, key & _MASK, key >> _S32, seed & _MASK, seed >> _S32)
        _tile(u, start + np.uint64(low), code, stream, knots, words, index, loaded)
    return u


@_compiled("int64(uint64[:, ::1], int64, uint64, int64, int64, float32[::1], float32[::1], boolean)")
def _branches(
    outs: Any, t: Any, base: Any, low: Any, size: Any, scales: Any, u: Any, half: Any
) -> Any:  # fmt: skip
    """outs[b] = base + scales[b] u on one tile of piece t, for all branches b."""
    if half and scales.size == 2:
        # The usual case in one loop, which widens the base once.
        at = numba.carray(_pointer(base), (low + size,), np.uint16)[low:]  # type: ignore[call-arg]
        one = numba.carray(_pointer(outs[0, t]), (low + size,), np.uint16)[low:]
        two = numba.carray(_pointer(outs[1, t]), (low + size,), np.uint16)[low:]
        first, second = scales[0], scales[1]
        for i in range(size):
            value = _wide(at[i])
            one[i] = _narrow(value + first * u[i])
            two[i] = _narrow(value + second * u[i])
        return 0
    for b in range(scales.size):
        if half:
            to = numba.carray(_pointer(outs[b, t]), (low + size,), np.uint16)[low:]  # type: ignore[call-arg]
            at = numba.carray(_pointer(base), (low + size,), np.uint16)[low:]
            for i in range(size):
                to[i] = _narrow(_wide(at[i]) + scales[b] * u[i])
        else:
            out = numba.carray(_pointer(outs[b, t]), (low + size,), np.float32)[low:]  # type: ignore[call-arg]
            values = numba.carray(_pointer(base), (low + size,), np.float32)[low:]
            for i in range(size):
                out[i] = values[i] + scales[b] * u[i]
    return 0


@_compiled(
    f"void({_OUTS}, {_AT}, {_AT}, int64[::1], int64[::1], {_AT}, {_AT}, boolean, uint64, float32[::1],"
    f" {_DRAW})"
)
def _displace(
    outs: Any, bases: Any, kept: Any, how: Any, sizes: Any, starts: Any, keys: Any, half: Any,
    seed: Any, scales: Any,
    noise: Any, code: Any, tag: Any, knots: Any, words: Any, index: Any, loaded: Any,
) -> None:  # fmt: skip
    for t in range(bases.size):
        for low in range(0, sizes[t], TILE):
            size = min(TILE, sizes[t] - low)
            u = _drawn(
                kept[t], how[t], low, size, starts[t], seed, keys[t],
                noise, code, tag, knots, words, index, loaded,
            )  # fmt: skip
            _branches(outs, t, bases[t], low, size, scales, u, half)


@_compiled("int64(uint16[::1], uint64, int64, int64, float32[::1], int64)")
def _open(half: Any, side: Any, low: Any, size: Any, work: Any, rule: Any) -> Any:
    """Write the float32 values of a tile into ``work``: the weights, with the stored rounding error added, or
    the master copy, depending on the rule."""
    if rule == MASTER:
        master = numba.carray(_pointer(side), (low + size,), np.float32)[low:]  # type: ignore[call-arg]
        for i in range(size):
            work[i] = master[i]
    elif rule == COMPENSATED:
        rest = numba.carray(_pointer(side), (low + size,), np.uint16)[low:]  # type: ignore[call-arg]
        for i in range(size):
            work[i] = _wide(half[i]) + _wide(rest[i])
    else:
        for i in range(size):
            work[i] = _wide(half[i])
    return 0


@_compiled("int64(uint16[::1], uint64, int64, int64, float32[::1], int64)")
def _close(half: Any, side: Any, low: Any, size: Any, work: Any, rule: Any) -> Any:
    """Round ``work`` into the tile and store what the rule needs. Returns the number of changed values."""
    # 32-bit, as the lanes beside it: a 64-bit counter would halve the number of lanes.
    changed = np.int32(0)
    if rule == COMPENSATED:
        rest = numba.carray(_pointer(side), (low + size,), np.uint16)[low:]  # type: ignore[call-arg]
        for i in range(size):
            new = _rounded(work[i])
            changed = np.int32(changed + np.int32(_wide(half[i]) != np.uint32(new).view(np.float32)))
            rest[i] = _narrow(work[i] - np.uint32(new).view(np.float32))
            half[i] = np.uint16(new >> _U16)
        return np.int64(changed)
    if rule == MASTER:
        master = numba.carray(_pointer(side), (low + size,), np.float32)[low:]  # type: ignore[call-arg]
        for i in range(size):
            master[i] = work[i]
    for i in range(size):
        new = _rounded(work[i])
        changed = np.int32(changed + np.int32(_wide(half[i]) != np.uint32(new).view(np.float32)))
        half[i] = np.uint16(new >> _U16)
    return np.int64(changed)


@_compiled(
    f"int64({_AT}, {_AT}, {_OUTS}, int64[:, ::1], int64[::1], {_AT}, {_AT}, float32[::1], int64, uint64[::1],"
    f" float32[::1], float32[::1], {_OUTS}, {_AT}, int64[::1], uint64, float32[::1], {_DRAW})"
)
def _descend(
    thetas: Any, sides: Any, kept: Any, how: Any, sizes: Any, starts: Any, keys: Any,
    factors: Any, rule: Any, seeds: Any, scales: Any, scratch: Any,
    outs: Any, next_kept: Any, next_how: Any, next_seed: Any, next_scales: Any,
    noise: Any, code: Any, tag: Any, knots: Any, words: Any, index: Any, loaded: Any,
) -> Any:  # fmt: skip
    changed = 0
    for t in range(thetas.size):
        for low in range(0, sizes[t], TILE):
            size = min(TILE, sizes[t] - low)
            # A negative rule means float32 weights, which are updated in place.
            if rule < 0:
                work = numba.carray(_pointer(thetas[t]), (low + size,), np.float32)[low:]  # type: ignore[call-arg]
            else:
                work = scratch[:size]
                half = numba.carray(_pointer(thetas[t]), (low + size,), np.uint16)[low:]  # type: ignore[call-arg]
                _open(half, sides[t], low, size, work, rule)
            if factors[t] != np.float32(1.0):
                for i in range(size):
                    work[i] = work[i] * factors[t]
            for k in range(seeds.size):
                u = _drawn(
                    kept[k, t], how[k, t], low, size, starts[t], seeds[k], keys[t],
                    noise, code, tag, knots, words, index, loaded,
                )  # fmt: skip
                for i in range(size):
                    work[i] = work[i] + scales[k] * u[i]
            if rule >= 0:
                half = numba.carray(_pointer(thetas[t]), (low + size,), np.uint16)[low:]
                changed += _close(half, sides[t], low, size, work, rule)
            if next_scales.size:
                # The memory of this draw may be that of u, which this tile no longer needs.
                u = _drawn(
                    next_kept[t], next_how[t], low, size, starts[t], next_seed, keys[t],
                    noise, code, tag, knots, words, index, loaded,
                )  # fmt: skip
                _branches(outs, t, thetas[t], low, size, next_scales, u, rule >= 0)
    return changed


def serves(*tensors: torch.Tensor) -> bool:
    """Whether the sweeps support these tensors: contiguous, in CPU memory, all float32 or all bfloat16."""
    dtype = tensors[0].dtype
    return dtype in (torch.float32, torch.bfloat16) and all(
        t.dtype == dtype and t.device.type == "cpu" and t.is_contiguous() for t in tensors
    )


class Pieces:
    """Several contiguous tensors, cut into pieces that are distributed over threads.

    Attributes:
        owner: index of the tensor that a piece belongs to.
        starts: first entry of a piece in its tensor.
        sizes: number of entries of a piece.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        cut = [(t, low, min(PIECE, n - low)) for t, n in enumerate(sizes) for low in range(0, n, PIECE)]
        self.owner, self.starts, self.sizes = (np.array(c, np.int64) for c in zip(*cut, strict=True))

    def addresses(self, tensors: Sequence[torch.Tensor | None]) -> np.ndarray:
        """Memory addresses of the pieces of these tensors; 0 for ``None``."""
        first = np.array([0 if t is None else t.data_ptr() for t in tensors], np.uint64)
        width = np.array([0 if t is None else t.element_size() for t in tensors], np.uint64)
        return first[self.owner] + width[self.owner] * self.starts.astype(np.uint64)

    def shares(self) -> Iterator[slice]:
        """One range of pieces per thread, with about equal numbers of entries."""
        threads = torch.get_num_threads() if self.sizes.sum() >= PARALLEL_FROM else 1
        if threads == 1:
            yield slice(0, self.sizes.size)
            return
        ends = np.searchsorted(self.sizes.cumsum(), np.linspace(0, self.sizes.sum(), threads + 1)[1:])
        low = 0
        for end in sorted({*(int(e) + 1 for e in ends)}):
            yield slice(low, min(end, self.sizes.size))
            low = end
            if low >= self.sizes.size:
                return


def _shared_out(pieces: Pieces, work: Callable[[slice], int]) -> int:
    shares = list(pieces.shares())
    if len(shares) == 1:
        return work(shares[0])
    with ThreadPoolExecutor(len(shares)) as pool:
        return sum(pool.map(work, shares))


@dataclass(frozen=True)
class Branches:
    """Displaced weights out_b = base + scale_b u(seed) that one sweep writes.

    Attributes:
        outs: for each branch, the tensors that are written, all of the dtype of the base.
        scales: a float32 value for each branch.
        seed: seed of u.
        kept: float32 tensors of the same sizes wherever ``how`` is not ``ANEW``.
        how: for each tensor, ``ANEW``, ``KEEPING`` or ``KEPT``.
    """

    outs: Sequence[Sequence[torch.Tensor]]
    scales: Sequence[float]
    seed: int
    kept: Sequence[torch.Tensor | None]
    how: Sequence[int]

    def arrays(self, pieces: Pieces) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.uint64, np.ndarray]:
        """Addresses of outputs (branch, piece) and of cached draws, sources of the draws, seed, scales."""
        rows = [pieces.addresses(tensors) for tensors in self.outs]
        outs = np.stack(rows) if rows else np.empty((0, pieces.sizes.size), np.uint64)
        how = np.array(self.how, np.int64)[pieces.owner]
        scales = np.array(self.scales, np.float32)
        return outs, pieces.addresses(self.kept), how, np.uint64(self.seed), scales


def displace(
    bases: Sequence[torch.Tensor],
    branches: Branches,
    *,
    keys: Sequence[int],
    kind: str,
    offsets: Sequence[int] | None = None,
) -> None:
    """out = base + scale u for one or several branches, on tensors of one dtype; an output may be its base if
    it is the only branch.

    Args:
        bases: tensors that are read.
        branches: what is written.
        keys: key of each tensor.
        kind: kind of noise.
        offsets: for each tensor, the element of its stream at which it starts; all 0 by default.
    """
    pieces = Pieces([t.numel() for t in bases])
    b, (o, k, ways, seed, scales) = pieces.addresses(bases), branches.arrays(pieces)
    named, starts = np.array(keys, np.uint64)[pieces.owner], pieces.starts.astype(np.uint64)
    half = bases[0].dtype == torch.bfloat16
    if offsets is not None:
        starts += np.array(offsets, np.uint64)[pieces.owner]

    def work(part: slice) -> int:
        code, stream, *rest = _common(branches.seed, 0, kind)
        _displace(
            np.ascontiguousarray(o[:, part]), b[part], k[part], ways[part], pieces.sizes[part], starts[part],
            named[part], half, seed, scales, np.empty(TILE, np.float32), code, stream[0], *rest,
        )  # fmt: skip
        return 0

    _shared_out(pieces, work)


def descend(
    thetas: Sequence[torch.Tensor],
    sides: Sequence[torch.Tensor | None],
    rule: int,
    factors: Sequence[float],
    moving: Sequence[tuple[int, float]],
    *,
    keys: Sequence[int],
    kind: str,
    kept: Sequence[Sequence[torch.Tensor | None]],
    how: Sequence[Sequence[int]],
    ahead: Branches | None = None,
) -> int:
    """theta <- factor theta + sum of scale u(seed) over ``moving``, in place. Returns the number of changed
    values for bfloat16, and 0 for float32.

    Args:
        thetas: float32 tensors, or bfloat16 tensors written under ``rule``.
        sides: for bfloat16, what the rule stores: the rounding error (bfloat16) or the master copy (float32).
        rule: ``NEAREST``, ``COMPENSATED`` or ``MASTER``; not used for float32.
        factors: float32 factor of each tensor; 1.0 skips the multiplication.
        moving: seeds and float32 scales, in the order of addition.
        keys: key of each tensor.
        kind: kind of noise.
        kept: as in :class:`Branches`, for each seed.
        how: as in :class:`Branches`, for each seed.
        ahead: branches of the next step, written from the new weights in the same sweep. Its draw may be
            stored in the memory of a draw in ``kept``.
    """
    pieces = Pieces([t.numel() for t in thetas])
    at, beside = pieces.addresses(thetas), pieces.addresses(sides)
    draws = np.stack([pieces.addresses(tensors) for tensors in kept])
    ways = np.array(how, np.int64)[:, pieces.owner]
    named, starts = np.array(keys, np.uint64)[pieces.owner], pieces.starts.astype(np.uint64)
    shrink = np.array(factors, np.float32)[pieces.owner]
    seeds, scales = np.array([s for s, _ in moving], np.uint64), np.array([c for _, c in moving], np.float32)
    way = rule if thetas[0].dtype == torch.bfloat16 else -1
    beyond = ahead or Branches([], [], 0, [None] * len(thetas), [ANEW] * len(thetas))
    outs, next_kept, next_how, next_seed, next_scales = beyond.arrays(pieces)

    def work(part: slice) -> int:
        code, stream, *rest = _common(0, 0, kind)
        return int(
            _descend(
                at[part], beside[part], np.ascontiguousarray(draws[:, part]),
                np.ascontiguousarray(ways[:, part]), pieces.sizes[part], starts[part], named[part],
                shrink[part], way, seeds, scales, np.empty(TILE, np.float32),
                np.ascontiguousarray(outs[:, part]), next_kept[part], next_how[part], next_seed,
                next_scales, np.empty(TILE, np.float32), code, stream[0], *rest,
            )
        )  # fmt: skip

    return _shared_out(pieces, work)
