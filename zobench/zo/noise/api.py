"""Counter-based noise: fill, sample, axpy_, gather."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal, get_args

import torch

from zobench.zo.noise import philox, reference
from zobench.zo.noise.backend import backend_for

Kind = Literal["gaussian", "rademacher", "uniform"]
CHUNK = 1 << 16
MAX_ELEMENTS = 1 << 60
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def _check(seed: int, key: int, kind: str, offset: int, count: int) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"unknown noise kind {kind!r}; known: {', '.join(get_args(Kind))}")
    if not 0 <= seed < 1 << 64 or not 0 <= key < 1 << 64:
        raise ValueError(f"seed and key are unsigned 64-bit integers, got seed={seed}, key={key}")
    if offset < 0 or offset + count > MAX_ELEMENTS:
        raise ValueError(f"elements {offset}..{offset + count} are outside 0..2^60")


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in _FLOATS:
        raise ValueError(f"noise is defined for float32, bfloat16, float16 and float64, not {dtype}")


def _fill_chunk(out: torch.Tensor, offset: int, seed: int, key: int, kind: str, backend: str) -> None:
    reference.fill_chunk(out, offset, seed=seed, key=key, kind=kind)


@torch.no_grad()
def fill(out: torch.Tensor, *, seed: int, key: int, kind: Kind, offset: int = 0) -> torch.Tensor:
    """Overwrite ``out`` in C order with elements offset .. offset+numel of u(seed, key), and return it.

    Values are computed in float32, then cast to the tensor's dtype (round to nearest even).

    Raises:
        ValueError: unknown kind, seed or key outside 64 bits, negative offset, or a dtype that is not floating.
    """
    _check(seed, key, kind, offset, out.numel())
    _check_dtype(out.dtype)
    backend = backend_for(out)
    flat = (
        out.view(-1) if out.is_contiguous() else torch.empty(out.numel(), dtype=out.dtype, device=out.device)
    )
    buffer = torch.empty(min(CHUNK, flat.numel()), dtype=torch.float32, device=out.device)
    for start in range(0, flat.numel(), CHUNK):
        target = flat[start : start + CHUNK]
        noise = buffer[: target.numel()]
        _fill_chunk(noise, offset + start, seed, key, kind, backend)
        target.copy_(noise)
    if not out.is_contiguous():
        out.copy_(flat.view(out.shape))
    return out


def sample(
    shape: Sequence[int],
    *,
    seed: int,
    key: int,
    kind: Kind,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """A new tensor of this shape holding u(seed, key) from element 0. Raises as :func:`fill`."""
    return fill(torch.empty(tuple(shape), device=device, dtype=dtype), seed=seed, key=key, kind=kind)


@torch.no_grad()
def axpy_(
    tensor: torch.Tensor, scale: float, *, seed: int, key: int, kind: Kind, offset: int = 0
) -> torch.Tensor:
    """tensor += scale * u(seed, key), in place and without holding u; returns the tensor.

    ``scale`` is rounded to float32; then one float32 multiplication, one float32 addition (never fused) to the
    tensor's value read as float32, and one rounding to its dtype. In a float64 tensor u is still float32, but scale,
    product and sum are float64.

    Raises:
        ValueError: as :func:`fill`.
    """
    _check(seed, key, kind, offset, tensor.numel())
    _check_dtype(tensor.dtype)
    backend = backend_for(tensor)
    compute = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    factor = scale if compute == torch.float64 else to_float32(scale)
    flat = tensor.view(-1) if tensor.is_contiguous() else tensor.reshape(-1)
    buffer = torch.empty(min(CHUNK, flat.numel()), dtype=torch.float32, device=tensor.device)
    for start in range(0, flat.numel(), CHUNK):
        target = flat[start : start + CHUNK]
        noise = buffer[: target.numel()]
        _fill_chunk(noise, offset + start, seed, key, kind, backend)
        product = noise.to(compute).mul_(factor)
        target.copy_(target.to(compute).add_(product))
    if not tensor.is_contiguous():
        tensor.copy_(flat.view(tensor.shape))
    return tensor


@torch.no_grad()
def gather(indices: torch.Tensor, *, seed: int, key: int, kind: Kind) -> torch.Tensor:
    """u(seed, key) at flat C-order positions of the unmasked tensor, float32, in the shape of ``indices``.

    Raises:
        ValueError: as :func:`fill`; indices that are not int64 or int32, or negative.
    """
    if indices.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"indices must be int64 or int32, not {indices.dtype}")
    flat = indices.reshape(-1).to(torch.int64)
    if flat.numel() and int(flat.min()) < 0:
        raise ValueError(f"indices must not be negative, got {int(flat.min())}")
    _check(seed, key, kind, 0, int(flat.max()) + 1 if flat.numel() else 0)
    out = torch.empty(flat.numel(), dtype=torch.float32, device=flat.device)
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK]
        out[start : start + CHUNK] = reference.gather_chunk(part, seed=seed, key=key, kind=kind)
    return out.view(indices.shape)


@torch.no_grad()
def words(
    count: int, *, seed: int, key: int, offset: int = 0, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Raw 32-bit words offset .. offset+count of the stream of kind ``bits``, as int64 in [0, 2^32).

    Computed by the reference on every device: 4 words per Philox block.
    """
    _check(seed, key, "uniform", offset, count)
    code = reference.CODES["bits"]
    return philox.word_range(offset, count, seed=seed, key=key, code=code, device=torch.device(device))


def to_float32(value: float) -> float:
    """``value`` rounded to the nearest float32; infinite beyond its range."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
