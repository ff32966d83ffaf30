"""Fill, add and gather counter-based noise; the algorithm is specified in :mod:`zobench.zo.noise`.

Large tensors are processed in chunks, so that no call stores more than ``CHUNK`` noise values
(``CHUNK_DEVICE`` on other devices than a CPU). Tensors that are not contiguous are processed in C order
through one contiguous copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal, get_args

import torch

from zobench.zo.noise import philox, reference
from zobench.zo.noise.backend import Backend, backend_for

NoiseKind = Literal["gaussian", "rademacher", "uniform"]
CHUNK = 1 << 15
CHUNK_DEVICE = 1 << 22
MAX_ELEMENTS = 1 << 60
_HALVES = (torch.bfloat16, torch.float16)
_FLOATS = (torch.float32, *_HALVES, torch.float64)


def _check(seed: int, key: int, kind: str, offset: int, count: int) -> None:
    if kind not in get_args(NoiseKind):
        raise ValueError(f"unknown noise kind {kind!r}; known: {', '.join(get_args(NoiseKind))}")
    if not 0 <= seed < 1 << 64 or not 0 <= key < 1 << 64:
        raise ValueError(f"seed and key are unsigned 64-bit integers, got seed={seed}, key={key}")
    if offset < 0 or offset + count > MAX_ELEMENTS:
        raise ValueError(f"elements {offset}..{offset + count} are outside 0..2^60")


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in _FLOATS:
        raise ValueError(f"noise is defined for float32, bfloat16, float16 and float64, not {dtype}")


@cache
def _kernels(backend: Backend, dtype: torch.dtype) -> Any:
    """The kernel module that processes this dtype in one sweep; ``None`` if noise is generated in chunks."""
    if backend == "numba" and dtype == torch.float32:
        return import_module("zobench.zo.noise.cpu")
    if backend == "triton" and dtype != torch.float64:
        return import_module("zobench.zo.noise.cuda")
    return None


def _chunks(flat: torch.Tensor, offset: int, **stream: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs (part of the tensor, its float32 noise) in order. The next part reuses the noise buffer."""
    kernels = _kernels(backend_for(flat), torch.float32)
    size = CHUNK if flat.device.type == "cpu" else CHUNK_DEVICE
    buffer = torch.empty(min(size, flat.numel()), dtype=torch.float32, device=flat.device)
    for start in range(0, flat.numel(), size):
        part = flat[start : start + size]
        noise = buffer[: part.numel()]
        if kernels is None:
            reference.fill_chunk(noise, offset + start, **stream)
        else:
            kernels.fill(noise, offset + start, **stream)
        yield part, noise


@torch.no_grad()
def fill(out: torch.Tensor, *, seed: int, key: int, kind: NoiseKind, offset: int = 0) -> torch.Tensor:
    """Overwrite ``out`` in C order with elements offset .. offset+numel of u(seed, key), and return it.

    Values are computed in float32, then cast to the tensor's dtype (to nearest, ties to even).

    Raises:
        ValueError: unknown kind, seed or key outside 64 bits, negative offset, a dtype that is not floating,
            or a forced backend that cannot serve the tensor's device.
    """
    _check(seed, key, kind, offset, out.numel())
    _check_dtype(out.dtype)
    flat = out.detach().view(-1) if out.is_contiguous() else torch.empty_like(out.reshape(-1))
    kernels = _kernels(backend_for(out), out.dtype)
    if kernels is not None:
        kernels.fill(flat, offset, seed=seed, key=key, kind=kind)
    else:
        for part, noise in _chunks(flat, offset, seed=seed, key=key, kind=kind):
            part.copy_(noise)
    if not out.is_contiguous():
        out.copy_(flat.view(out.shape))
    return out


def sample(
    shape: Sequence[int],
    *,
    seed: int,
    key: int,
    kind: NoiseKind,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """A new tensor of this shape with u(seed, key) from element 0. Raises the errors of :func:`fill`."""
    return fill(torch.empty(tuple(shape), device=device, dtype=dtype), seed=seed, key=key, kind=kind)


@torch.no_grad()
def axpy_(
    tensor: torch.Tensor, scale: float, *, seed: int, key: int, kind: NoiseKind, offset: int = 0
) -> torch.Tensor:
    """tensor += scale * u(seed, key), in place and without storing u; returns the tensor.

    ``scale`` is rounded to float32; then one float32 multiplication, one float32 addition (never fused) to
    the tensor's value read as float32, and one rounding to its dtype. In a float64 tensor u is still
    float32, but scale, product and sum are float64. A scale that rounds to 0 changes no bit, negative zeros
    included.

    Raises:
        ValueError: as :func:`fill`.
    """
    _check(seed, key, kind, offset, tensor.numel())
    _check_dtype(tensor.dtype)
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    factor = scale if wide == torch.float64 else to_float32(scale)
    if factor == 0.0:
        return tensor
    flat = tensor.detach().view(-1) if tensor.is_contiguous() else tensor.detach().reshape(-1)
    kernels = _kernels(backend_for(tensor), tensor.dtype)
    if kernels is not None:
        kernels.axpy_(flat, factor, offset, seed=seed, key=key, kind=kind)
    elif tensor.dtype == torch.bfloat16 and flat.numel() and backend_for(tensor) == "numba":
        sweeps = fused_sweeps()
        once = sweeps.Branches([[flat]], [factor], seed, [None], [sweeps.ANEW])
        sweeps.displace([flat], once, keys=[key], kind=kind, offsets=[offset])
    else:
        for part, noise in _chunks(flat, offset, seed=seed, key=key, kind=kind):
            part.copy_(noise.to(wide).mul_(factor).add_(part.to(wide)))
    if not tensor.is_contiguous():
        tensor.copy_(flat.view(tensor.shape))
    return tensor


@cache
def fused_sweeps() -> Any:
    """The module ``zobench.zo.noise.sweeps``, which needs numba."""
    return import_module("zobench.zo.noise.sweeps")


ONE_CALL_BELOW = 1 << 18
"""Tensors with fewer elements are processed by one kernel call together; each larger one uses all threads."""


@torch.no_grad()
def axpy_many_(
    tensors: Sequence[torch.Tensor], scale: float, *, seed: int, keys: Sequence[int], kind: NoiseKind
) -> None:
    """``axpy_`` on each tensor with its key: bit-identical to a loop, but one call for all small tensors.

    Raises:
        ValueError: as :func:`fill`.
    """
    together: list[tuple[torch.Tensor, int]] = []
    for tensor, key in zip(tensors, keys, strict=True):
        _check(seed, key, kind, 0, tensor.numel())
        small = tensor.numel() < ONE_CALL_BELOW or torch.get_num_threads() == 1
        plain = tensor.dtype == torch.float32 and tensor.is_contiguous() and tensor.device.type == "cpu"
        if small and plain and backend_for(tensor) == "numba":
            together.append((tensor, key))
        else:
            axpy_(tensor, scale, seed=seed, key=key, kind=kind)
    factor = to_float32(scale)
    if together and factor != 0.0:
        kernels = _kernels("numba", torch.float32)
        targets, chosen = zip(*together, strict=True)
        kernels.axpy_many_(targets, factor, seed=seed, keys=chosen, kind=kind)


@torch.no_grad()
def gather(indices: torch.Tensor, *, seed: int, key: int, kind: NoiseKind) -> torch.Tensor:
    """u(seed, key) at flat C-order positions of the unmasked tensor, float32, in the shape of ``indices``.

    Raises:
        ValueError: as :func:`fill`; indices that are not int64 or int32, or that are negative.
    """
    if indices.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"indices must be int64 or int32, not {indices.dtype}")
    flat = indices.reshape(-1).to(torch.int64)
    low, high = (int(flat.min()), int(flat.max())) if flat.numel() else (0, -1)
    _check(seed, key, kind, low, high + 1 - low)
    out = torch.empty(flat.numel(), dtype=torch.float32, device=flat.device)
    kernels = _kernels(backend_for(out), torch.float32)
    if kernels is not None:
        kernels.gather(flat.contiguous(), out, seed=seed, key=key, kind=kind)
        return out.view(indices.shape)
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK]
        out[start : start + CHUNK] = reference.gather_chunk(part, seed=seed, key=key, kind=kind)
    return out.view(indices.shape)


@torch.no_grad()
def words(
    count: int, *, seed: int, key: int, offset: int = 0, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Raw 32-bit words offset .. offset+count of the stream ``bits``, as int64 in [0, 2^32).

    Computed by the reference backend on every device. Raises the errors of :func:`fill`.
    """
    _check(seed, key, "uniform", offset, count)
    code = reference.CODES["bits"]
    return philox.word_range(offset, count, seed=seed, key=key, code=code, device=torch.device(device))


def to_float32(value: float) -> float:
    """``value`` rounded to the nearest float32, ties to even; infinite beyond its range."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
