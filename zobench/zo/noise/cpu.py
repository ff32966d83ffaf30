"""CPU kernels of the noise, compiled by numba on first use and cached on disk if possible.

Each kernel has one signature and fastmath is off: LLVM then neither reorders operations nor contracts a
multiplication and an addition. All words are stored in uint64 and masked (numba widens uint32 products to
uint64 in any case). Data are processed in tiles that stay in the second-level cache. Kernels release the
interpreter lock, so that large tensors are split over ``torch.get_num_threads()`` threads. The noise is a
function of the element index, so that the result does not depend on the split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numba.extending
import numpy as np
import torch
from numba.core import cgutils

from zobench.zo.noise import philox, table
from zobench.zo.noise.reference import CODES, HALF_BITS

TILE = 1 << 14
"""Entries per tile. Smaller tiles stay in the first-level cache, but each begins by waiting for memory."""
PARALLEL_FROM = 1 << 18

_M0, _M1 = np.uint64(philox.M0), np.uint64(philox.M1)
_W0, _W1 = np.uint64(philox.W0), np.uint64(philox.W1)
_MASK, _S32, _TWO, _THREE = np.uint64(philox.MASK), np.uint64(32), np.uint64(2), np.uint64(3)
_ONE, _FIVE, _SEVEN = np.uint64(1), np.uint64(5), np.uint64(7)
_LANE32, _LANE128 = np.uint64(31), np.uint64(127)
_ROUNDS = philox.ROUNDS
_HALF_BITS, _SIGN, _BELOW_SIGN = np.uint32(HALF_BITS), np.uint32(0x80000000), np.uint32(0x7FFFFFFF)
_FRACTION, _S15, _S8, _S31 = np.uint32(0x7FFF), np.uint32(15), np.uint32(8), np.uint32(31)
_HALF, _STEP, _ULP24 = np.float32(0.5), np.float32(1 / 32768), np.float32(1 / 16777216)
_ONE_BITS, _BIT = np.uint32(0x3F800000), np.uint32(1)
_GAUSSIAN, _RADEMACHER = CODES["gaussian"], CODES["rademacher"]

_STREAM = "UniTuple(uint64, 5)"
_TABLE = "uint64[::1]"
_SCRATCH = "uint32[::1], uint32[::1], uint64[::1]"


def _compiled(signature: str) -> Callable[[Any], Any]:
    """``numba.njit`` with one signature, cached on disk unless no cache folder can be written."""

    def decorate(function: Any) -> Any:
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return numba.njit(signature, nogil=True)(function)

    return decorate


@numba.njit(inline="always")
def _philox(block: Any, stream: Any) -> Any:
    c1_base, c2, c3, k0, k1 = stream
    c0, c1 = block & _MASK, (block >> _S32) + c1_base
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _S32) ^ c1 ^ k0, p1 & _MASK, (p0 >> _S32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@_compiled(f"void(uint32[::1], uint64, {_STREAM})")
def _words(words: Any, first: Any, stream: Any) -> None:
    """Blocks first, first+1, ... into ``words``, four words each."""
    for i in range(words.size >> 2):
        c0, c1, c2, c3 = _philox(first + np.uint64(i), stream)
        words[4 * i] = np.uint32(c0)
        words[4 * i + 1] = np.uint32(c1)
        words[4 * i + 2] = np.uint32(c2)
        words[4 * i + 3] = np.uint32(c3)


@_compiled(f"void(uint32[::1], int64[::1], uint64, {_STREAM})")
def _words_at(words: Any, at: Any, shift: Any, stream: Any) -> None:
    """Word ``at[i] >> shift`` of the stream into ``words[i]``, without branches, so that it is vectorized."""
    for i in range(at.size):
        word = np.uint64(at[i]) >> shift
        c0, c1, c2, c3 = _philox(word >> _TWO, stream)
        low = c1 if word & _ONE else c0
        high = c3 if word & _ONE else c2
        words[i] = np.uint32(high if word & _TWO else low)


@_compiled("void(uint32[::1], int64, float32[::1])")
def _signs(words: Any, skip: Any, out: Any) -> None:
    """Signs of the bits skip, skip+1, ... of ``words``: single bits at both ends, whole words between
    them."""
    # 0x3F800000 is 1.0f; the random bit becomes its sign bit.
    n = out.size
    head = min(n, (32 - skip) & 31)
    body = (n - head) >> 5
    for i in range(head):
        bit = (words[0] >> np.uint32(skip + i)) & _BIT
        out[i] = np.uint32(_ONE_BITS | (bit << _S31)).view(np.float32)
    first = (skip + head) >> 5
    # ``lanes`` is 32 wherever it is used. The compiler would unroll a loop with a constant count into single
    # operations instead of vectorizing it.
    lanes = min(n, 32)
    for j in range(body):
        word, at = words[first + j], np.uint64(head + 32 * j)
        for b in range(lanes):
            bit = np.uint32(word >> np.uint32(b)) & _BIT
            out[at + np.uint64(b)] = np.uint32(_ONE_BITS | np.uint32(bit << _S31)).view(np.float32)
    for i in range(head + 32 * body, n):
        loose = np.uint64(skip + i)
        bit = (words[loose >> _FIVE] >> np.uint32(loose & _LANE32)) & _BIT
        out[i] = np.uint32(_ONE_BITS | (bit << _S31)).view(np.float32)


@_compiled(f"void(uint32[::1], float32[::1], int64, {_TABLE}, uint32[::1], uint64[::1])")
def _floats(words: Any, out: Any, code: Any, knots: Any, index: Any, loaded: Any) -> None:
    """Gaussian or uniform values of ``words``."""
    # Three loops, because the table loads cannot be vectorized: the other two loops can.
    n = out.size
    if code != _GAUSSIAN:
        for i in range(n):
            out[i] = np.float32(np.int32(words[i] >> _S8)) * _ULP24
        return
    for i in range(n):
        tail = np.float32(np.int32(words[i] & _BELOW_SIGN)) + _HALF
        index[i] = (np.float32(tail).view(np.uint32) - _HALF_BITS) >> _S15
    for i in range(n):
        loaded[i] = knots[np.uint64(index[i])]
    for i in range(n):
        tail = np.float32(np.int32(words[i] & _BELOW_SIGN)) + _HALF
        fraction = np.float32(np.int32(np.float32(tail).view(np.uint32) - _HALF_BITS & _FRACTION)) * _STEP
        knot, step = np.uint32(loaded[i] & _MASK), np.uint32(loaded[i] >> _S32)
        magnitude = np.uint32(knot).view(np.float32) + np.uint32(step).view(np.float32) * fraction
        out[i] = np.uint32(np.float32(magnitude).view(np.uint32) | (words[i] & _SIGN)).view(np.float32)


@_compiled(f"void(float32[::1], uint64, int64, {_STREAM}, {_TABLE}, {_SCRATCH})")
def _tile(
    out: Any,
    start: Any,
    code: Any,
    stream: Any,
    knots: Any,
    words: Any,
    index: Any,
    loaded: Any,
) -> None:
    """Elements start .. start+out.size (at most TILE) into ``out``."""
    # Whole Philox blocks are generated (4 words; 128 bits for signs), starting at or before ``start``.
    n = out.size
    if code != _RADEMACHER:
        skip = np.int64(start & _THREE)
        used = (skip + n + 3) & ~3
        _words(words[:used], start >> _TWO, stream)
        _floats(words[skip : skip + n], out, code, knots, index, loaded)
        return
    skip = np.int64(start & _LANE128)
    used = (((skip + n + 31) >> 5) + 3) & ~3
    _words(words[:used], start >> _SEVEN, stream)
    _signs(words[skip >> 5 : used], skip & 31, out)


@_compiled(f"void(float32[::1], uint64, int64, {_STREAM}, {_TABLE}, {_SCRATCH})")
def _fill(
    out: Any,
    start: Any,
    code: Any,
    stream: Any,
    knots: Any,
    words: Any,
    index: Any,
    loaded: Any,
) -> None:
    for low in range(0, out.size, TILE):
        part = out[low : low + TILE]
        _tile(part, start + np.uint64(low), code, stream, knots, words, index, loaded)


@_compiled(f"void(float32[::1], float32, float32[::1], uint64, int64, {_STREAM}, {_TABLE}, {_SCRATCH})")
def _axpy(
    target: Any,
    scale: Any,
    noise: Any,
    start: Any,
    code: Any,
    stream: Any,
    knots: Any,
    words: Any,
    index: Any,
    loaded: Any,
) -> None:
    for low in range(0, target.size, TILE):
        part = target[low : low + TILE]
        u = noise[: part.size]
        _tile(u, start + np.uint64(low), code, stream, knots, words, index, loaded)
        for i in range(part.size):
            part[i] = part[i] + scale * u[i]


@_compiled(f"void(int64[::1], float32[::1], int64, {_STREAM}, {_TABLE}, {_SCRATCH})")
def _gather(
    at: Any, out: Any, code: Any, stream: Any, knots: Any, words: Any, index: Any, loaded: Any
) -> None:
    for low in range(0, out.size, TILE):
        part, where = out[low : low + TILE], at[low : low + TILE]
        if code != _RADEMACHER:
            _words_at(words, where, np.uint64(0), stream)
            _floats(words[: part.size], part, code, knots, index, loaded)
        else:
            _words_at(words, where, _FIVE, stream)
            for i in range(part.size):
                bit = (words[i] >> np.uint32(where[i] & 31)) & _BIT
                part[i] = np.uint32(_ONE_BITS | (bit << _S31)).view(np.float32)


@numba.extending.intrinsic
def _pointer(_context: Any, _address: Any) -> Any:
    """A uint64 address as a void pointer, for ``numba.carray``."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return numba.types.voidptr(numba.types.uint64), build


@_compiled(
    f"void(uint64[::1], int64[::1], uint64[:, ::1], float32, float32[::1], int64, {_TABLE}, {_SCRATCH})"
)
def _axpy_many(
    addresses: Any,
    sizes: Any,
    streams: Any,
    scale: Any,
    noise: Any,
    code: Any,
    knots: Any,
    words: Any,
    index: Any,
    loaded: Any,
) -> None:
    for t in range(addresses.size):
        target = numba.carray(_pointer(addresses[t]), (sizes[t],), np.float32)  # type: ignore[call-arg]
        stream = (streams[t, 0], streams[t, 1], streams[t, 2], streams[t, 3], streams[t, 4])
        _axpy(target, scale, noise, np.uint64(0), code, stream, knots, words, index, loaded)


@cache
def _table() -> np.ndarray:
    """Word i holds knot i in its low half and the step to knot i + 1 in its high half: one load gives
    both."""
    cpu = torch.device("cpu")
    steps = table.differences(cpu).numpy().view(np.uint32).astype(np.uint64)
    knots = table.quantiles(cpu).numpy().view(np.uint32)[: steps.size].astype(np.uint64)
    return knots | (steps << _S32)


_Common = tuple[int, tuple[np.uint64, ...], np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _common(seed: int, key: int, kind: str) -> _Common:
    """Kind code, stream words, table and new scratch memory: the last arguments of every kernel."""
    code = CODES[kind]
    c1 = code << philox.KIND_SHIFT
    stream = tuple(np.uint64(v) for v in (c1, key & philox.MASK, key >> 32, seed & philox.MASK, seed >> 32))
    scratch = (np.empty(TILE + 8, np.uint32), np.empty(TILE, np.uint32), np.empty(TILE, np.uint64))
    return code, stream, _table(), *scratch


def _split(count: int) -> list[tuple[int, int]]:
    """Ranges of whole tiles, one per thread; one range if the tensor is small."""
    threads = torch.get_num_threads() if count >= PARALLEL_FROM else 1
    share = -(-count // (threads * TILE)) * TILE
    return [(low, min(low + share, count)) for low in range(0, count, max(share, 1))]


def _each(work: Callable[[int, int], None], count: int) -> None:
    ranges = _split(count)
    if len(ranges) <= 1:
        for low, high in ranges:
            work(low, high)
        return
    with ThreadPoolExecutor(len(ranges)) as pool:
        for done in [pool.submit(work, low, high) for low, high in ranges]:
            done.result()


def fill(out: torch.Tensor, offset: int, *, seed: int, key: int, kind: str) -> None:
    """Elements offset .. offset+n into a contiguous one-dimensional float32 CPU tensor."""
    array = out.numpy()

    def work(low: int, high: int) -> None:
        _fill(array[low:high], np.uint64(offset + low), *_common(seed, key, kind))

    _each(work, out.numel())


def axpy_(target: torch.Tensor, scale: float, offset: int, *, seed: int, key: int, kind: str) -> None:
    """target += scale * u for a contiguous one-dimensional float32 CPU tensor; ``scale`` is a float32."""
    array = target.numpy()

    def work(low: int, high: int) -> None:
        noise = np.empty(min(TILE, high - low), np.float32)
        start = np.uint64(offset + low)
        _axpy(array[low:high], np.float32(scale), noise, start, *_common(seed, key, kind))

    _each(work, target.numel())


def axpy_many_(
    targets: Sequence[torch.Tensor], scale: float, *, seed: int, keys: Sequence[int], kind: str
) -> None:
    """``axpy_`` on many contiguous float32 CPU tensors by one call on one thread.

    For models with many small tensors, for which the overhead of a call exceeds its work.
    """
    code, _, *rest = _common(seed, 0, kind)
    streams = np.empty((len(targets), 5), np.uint64)
    streams[:, 0] = code << philox.KIND_SHIFT
    key_words = np.array(keys, np.uint64)
    streams[:, 1], streams[:, 2] = key_words & _MASK, key_words >> _S32
    streams[:, 3], streams[:, 4] = seed & philox.MASK, seed >> 32
    addresses = np.array([t.data_ptr() for t in targets], np.uint64)
    sizes = np.array([t.numel() for t in targets], np.int64)
    _axpy_many(addresses, sizes, streams, np.float32(scale), np.empty(TILE, np.float32), code, *rest)


def gather(indices: torch.Tensor, out: torch.Tensor, *, seed: int, key: int, kind: str) -> None:
    """out[i] = u[indices[i]] for contiguous one-dimensional int64 and float32 CPU tensors."""
    at, array = indices.numpy(), out.numpy()

    def work(low: int, high: int) -> None:
        _gather(at[low:high], array[low:high], *_common(seed, key, kind))

    _each(work, out.numel())
