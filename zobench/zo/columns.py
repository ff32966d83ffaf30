"""out += sum over k of inner[:, k] columns[k], in one pass over a layer's output, compiled by numba.

The operations are those of ``torch.addcmul_`` for one k after another, in float32 with one rounding per term
(a fused multiplication and addition, as torch's), and one rounding to bfloat16 at the end. In bfloat16 torch
needs a float32 copy of the output, a pass for each k, and a conversion back.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.extending
import numpy as np
import torch

from zobench.zo.noise.cpu import _compiled, _pointer
from zobench.zo.noise.sweeps import _narrow, _wide

FUSED = ("AVX2", "AVX512")
"""Instruction sets of torch's CPU code whose ``addcmul_`` rounds once."""


@numba.extending.intrinsic
def _fma(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """a b + c with one rounding."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    single = numba.types.float32
    return single(single, single, single), build


@_compiled("int64(float32[::1], float32[::1], float32[:, ::1])")
def _add_row(row: Any, inner: Any, columns: Any) -> Any:
    for k in range(inner.size):
        factor = inner[k]
        for j in range(row.size):
            row[j] = _fma(factor, columns[k, j], row[j])  # type: ignore[call-arg]
    return 0


@_compiled("int64(uint64, uint64, uint64, int64, int64, int64, boolean)")
def _add(out: Any, inner: Any, columns: Any, rows: Any, width: Any, rank: Any, half: Any) -> Any:
    factors = numba.carray(_pointer(inner), (rows, rank), np.float32)  # type: ignore[call-arg]
    terms = numba.carray(_pointer(columns), (rank, width), np.float32)
    if not half:
        values = numba.carray(_pointer(out), (rows, width), np.float32)
        for i in range(rows):
            _add_row(values[i], factors[i], terms)
        return 0
    halves = numba.carray(_pointer(out), (rows, width), np.uint16)
    row = np.empty(width, np.float32)
    for i in range(rows):
        for j in range(width):
            row[j] = _wide(halves[i, j])
        _add_row(row, factors[i], terms)
        for j in range(width):
            halves[i, j] = _narrow(row[j])
    return 0


def serves(output: torch.Tensor) -> bool:
    """Whether ``add_columns_`` supports this output: contiguous float32 or bfloat16 in CPU memory, one thread
    (torch distributes its passes over several), no gradient, and torch code that fuses multiplications and
    additions as the kernel does."""
    return (
        output.dtype in (torch.float32, torch.bfloat16)
        and output.device.type == "cpu"
        and output.is_contiguous()
        and not output.requires_grad
        and torch.get_num_threads() == 1
        and torch.backends.cpu.get_cpu_capability() in FUSED
    )


def add_columns_(output: torch.Tensor, inner: torch.Tensor, columns: torch.Tensor) -> None:
    """``output += inner @ columns`` in place.

    Args:
        output: (..., n), see ``serves``.
        inner: (rows, r), float32, where rows is the number of vectors in ``output``.
        columns: (r, n), float32.
    """
    assert inner.is_contiguous()
    assert columns.is_contiguous()
    rows, rank = inner.shape
    assert columns.shape == (rank, output.shape[-1])
    assert output.numel() == rows * columns.shape[1]
    half = output.dtype == torch.bfloat16
    _add(output.data_ptr(), inner.data_ptr(), columns.data_ptr(), rows, columns.shape[1], rank, half)
