"""Reference backend: noise by plain torch operations, on any device. The other backends must give equal
bits."""

from __future__ import annotations

import torch

from zobench.zo.noise import philox, table

CODES = {"bits": 0, "gaussian": 1, "rademacher": 2, "uniform": 3}
HALF_BITS = 0x3F000000


def gaussian_of(words: torch.Tensor) -> torch.Tensor:
    """Standard normal float32 from 32-bit words (int64): sign, table index, linear interpolation."""
    tail = (words & 0x7FFFFFFF).to(torch.int32).to(torch.float32) + 0.5
    bits = tail.view(torch.int32) - HALF_BITS
    index = bits >> 15
    fraction = (bits & 0x7FFF).to(torch.float32) * (1.0 / 32768.0)
    step = table.differences(words.device)[index] * fraction
    magnitude = table.quantiles(words.device)[index] + step
    return torch.where(words > 0x7FFFFFFF, -magnitude, magnitude)


def uniform_of(words: torch.Tensor) -> torch.Tensor:
    """Uniform float32 on [0, 1): the upper 24 bits divided by 2^24, exact."""
    return (words >> 8).to(torch.int32).to(torch.float32) * (1.0 / 16777216.0)


def _sign_of(bit: torch.Tensor) -> torch.Tensor:
    return 1.0 - 2.0 * bit.to(torch.float32)


def fill_chunk(out: torch.Tensor, offset: int, *, seed: int, key: int, kind: str) -> None:
    """Write elements offset .. offset+n into the one-dimensional float32 tensor ``out``."""
    code, count, device = CODES[kind], out.numel(), out.device
    if kind != "rademacher":
        words = philox.word_range(offset, count, seed=seed, key=key, code=code, device=device)
        out.copy_(gaussian_of(words) if kind == "gaussian" else uniform_of(words))
        return
    first, last = offset >> 5, (offset + count + 31) >> 5
    words = philox.word_range(first, last - first, seed=seed, key=key, code=code, device=device)
    shifts = torch.arange(32, dtype=torch.int64, device=device)
    bit = ((words.unsqueeze(-1) >> shifts) & 1).reshape(-1)
    skip = offset - 32 * first
    out.copy_(_sign_of(bit[skip : skip + count]))


def gather_chunk(index: torch.Tensor, *, seed: int, key: int, kind: str) -> torch.Tensor:
    """float32 elements at the flat int64 positions ``index`` (one-dimensional)."""
    code = CODES[kind]
    if kind == "rademacher":
        words = philox.words_at(index >> 5, seed=seed, key=key, code=code)
        return _sign_of((words >> (index & 31)) & 1)
    words = philox.words_at(index, seed=seed, key=key, code=code)
    return gaussian_of(words) if kind == "gaussian" else uniform_of(words)
