"""CUDA kernels of the noise, written in triton; the same bits as the reference.

Integer arithmetic is explicitly uint32 and uint64. The kernels are compiled with ``enable_fp_fusion=False``;
otherwise the interpolation and the axpy would be contracted to fused multiply-adds. Seed, key and first block
are passed as signed 32-bit halves, so that all their values use the same compiled kernel. With
``TRITON_INTERPRET=1`` the kernels run on the CPU.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from zobench.zo.noise import philox, table
from zobench.zo.noise.reference import CODES, HALF_BITS

BLOCKS = 256
SIGN_BLOCKS = 16

_M0, _M1 = tl.constexpr(philox.M0), tl.constexpr(philox.M1)
_W0, _W1 = tl.constexpr(philox.W0), tl.constexpr(philox.W1)
_ROUNDS = tl.constexpr(philox.ROUNDS)
_HALF_BITS = tl.constexpr(HALF_BITS)
_GAUSSIAN, _RADEMACHER = tl.constexpr(CODES["gaussian"]), tl.constexpr(CODES["rademacher"])
_HALVES = ["seed0", "seed1", "key0", "key1", "first0", "first1"]


@triton.jit
def _philox(block, seed0, seed1, key0, key1, TAG: tl.constexpr):
    m0 = tl.full((), _M0, tl.uint32)
    m1 = tl.full((), _M1, tl.uint32)
    w0 = tl.full((), _W0, tl.uint32)
    w1 = tl.full((), _W1, tl.uint32)
    c0 = block.to(tl.uint32)
    c1 = (block >> 32).to(tl.uint32) + tl.full((), TAG, tl.uint32)
    c2 = tl.zeros_like(c0) + key0.to(tl.uint32)
    c3 = tl.zeros_like(c0) + key1.to(tl.uint32)
    k0 = seed0.to(tl.uint32)
    k1 = seed1.to(tl.uint32)
    for _ in tl.static_range(_ROUNDS):
        h0 = tl.umulhi(c0, m0)
        l0 = c0 * m0
        h1 = tl.umulhi(c2, m1)
        l1 = c2 * m1
        c0 = h1 ^ c1 ^ k0
        c1 = l1
        c2 = h0 ^ c3 ^ k1
        c3 = l0
        k0 = k0 + w0
        k1 = k1 + w1
    return c0, c1, c2, c3


@triton.jit
def _floats(words, knots, steps, CODE: tl.constexpr):
    if CODE == _GAUSSIAN:
        tail = (words & 0x7FFFFFFF).to(tl.int32).to(tl.float32) + 0.5
        bits = tail.to(tl.int32, bitcast=True) - _HALF_BITS
        index = bits >> 15
        fraction = (bits & 0x7FFF).to(tl.float32) * (1.0 / 32768.0)
        step = tl.load(steps + index) * fraction
        magnitude = tl.load(knots + index) + step
        value = tl.where(words > 0x7FFFFFFF, -magnitude, magnitude)
    else:
        value = (words >> 8).to(tl.int32).to(tl.float32) * (1.0 / 16777216.0)
    return value


@triton.jit
def _round_to_bfloat16(u):
    """Nearest bfloat16, ties to even, as float32. Written out because the interpreter's cast truncates."""
    bits = u.to(tl.uint32, bitcast=True)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return tl.where(u == u, rounded, bits).to(tl.float32, bitcast=True)


@triton.jit
def _put(target, at, u, scale, count, AXPY: tl.constexpr):
    inside = (at >= 0) & (at < count)
    if AXPY:
        old = tl.load(target + at, mask=inside, other=0.0).to(tl.float32)
        product = u * scale
        u = old + product
    if target.dtype.element_ty == tl.bfloat16:
        u = _round_to_bfloat16(u)
    tl.store(target + at, u.to(target.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=[*_HALVES, "skip", "count", "scale"])
def _apply(
    target, knots, steps, count, skip, scale, seed0, seed1, key0, key1, first0, first1,
    CODE: tl.constexpr, TAG: tl.constexpr, AXPY: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Elements of SIZE consecutive Philox blocks, written to or added into ``target``."""
    local = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    first = (first1.to(tl.uint32).to(tl.uint64) << 32) | first0.to(tl.uint32).to(tl.uint64)
    c0, c1, c2, c3 = _philox(first + local.to(tl.uint64), seed0, seed1, key0, key1, TAG)
    words = tl.interleave(tl.interleave(c0, c2), tl.interleave(c1, c3))
    place = tl.program_id(0).to(tl.int64) * (4 * SIZE) + tl.arange(0, 4 * SIZE)
    if CODE == _RADEMACHER:
        lane = tl.arange(0, 32)
        bit = (words[:, None] >> lane[None, :].to(tl.uint32)) & 1
        u = 1.0 - 2.0 * bit.to(tl.int32).to(tl.float32)
        _put(target, place[:, None] * 32 + lane[None, :] - skip, u, scale, count, AXPY)
    else:
        _put(target, place - skip, _floats(words, knots, steps, CODE), scale, count, AXPY)


@triton.jit(do_not_specialize=[*_HALVES[:4], "count"])
def _gather(
    at, out, knots, steps, count, seed0, seed1, key0, key1,
    CODE: tl.constexpr, TAG: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """out[i] = u[at[i]], one Philox block per position."""
    place = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = place < count
    element = tl.load(at + place, mask=inside, other=0)
    word = element
    if CODE == _RADEMACHER:
        word = element >> 5
    c0, c1, c2, c3 = _philox((word >> 2).to(tl.uint64), seed0, seed1, key0, key1, TAG)
    lane = word & 3
    words = tl.where(lane == 0, c0, tl.where(lane == 1, c1, tl.where(lane == 2, c2, c3)))
    if CODE == _RADEMACHER:
        bit = (words >> (element & 31).to(tl.uint32)) & 1
        u = 1.0 - 2.0 * bit.to(tl.int32).to(tl.float32)
    else:
        u = _floats(words, knots, steps, CODE)
    tl.store(out + place, u, mask=inside)


def _halves(value: int) -> tuple[int, int]:
    """Low and high word of a 64-bit integer as signed 32-bit integers."""
    low, high = value & philox.MASK, value >> 32
    return low - ((low >> 31) << 32), high - ((high >> 31) << 32)


def _launch(
    target: torch.Tensor, scale: float, offset: int, axpy: bool, *, seed: int, key: int, kind: str
) -> None:
    shift, size = (7, SIGN_BLOCKS) if kind == "rademacher" else (2, BLOCKS)
    first, skip, count = offset >> shift, offset & ((1 << shift) - 1), target.numel()
    if count == 0:
        return
    blocks = (skip + count + (1 << shift) - 1) >> shift
    tables: tuple[Any, Any] = table.quantiles(target.device), table.differences(target.device)
    words = (*_halves(seed), *_halves(key), *_halves(first))
    _apply[(triton.cdiv(blocks, size),)](
        target, *tables, count, skip, scale, *words,
        CODE=CODES[kind], TAG=CODES[kind] << philox.KIND_SHIFT, AXPY=axpy, SIZE=size, enable_fp_fusion=False,
    )  # fmt: skip


def fill(out: torch.Tensor, offset: int, *, seed: int, key: int, kind: str) -> None:
    """Elements offset .. offset+n into a contiguous one-dimensional float32, bfloat16 or float16 tensor."""
    _launch(out, 0.0, offset, False, seed=seed, key=key, kind=kind)


def axpy_(target: torch.Tensor, scale: float, offset: int, *, seed: int, key: int, kind: str) -> None:
    """target += scale * u in one sweep, for the tensors that :func:`fill` takes; ``scale`` is a float32."""
    _launch(target, scale, offset, True, seed=seed, key=key, kind=kind)


def gather(indices: torch.Tensor, out: torch.Tensor, *, seed: int, key: int, kind: str) -> None:
    """out[i] = u[indices[i]] for contiguous one-dimensional int64 and float32 CUDA tensors."""
    if indices.numel() == 0:
        return
    tables = table.quantiles(indices.device), table.differences(indices.device)
    _gather[(triton.cdiv(indices.numel(), 1024),)](
        indices, out, *tables, indices.numel(), *_halves(seed), *_halves(key),
        CODE=CODES[kind], TAG=CODES[kind] << philox.KIND_SHIFT, SIZE=1024, enable_fp_fusion=False,
    )  # fmt: skip
