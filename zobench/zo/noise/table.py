"""The table of normal quantiles for the Gaussian algorithm (written by ``build_table``)."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import torch

PATH = Path(__file__).with_name("gaussian_table.f32")
ENTRIES = 8194


@cache
def _values() -> torch.Tensor:
    values = torch.frombuffer(bytearray(PATH.read_bytes()), dtype=torch.float32)
    # The file is little-endian.
    if sys.byteorder == "big":
        values = values.view(torch.uint8).reshape(-1, 4).flip(1).contiguous().view(torch.float32).reshape(-1)
    assert values.numel() == ENTRIES
    return values


@cache
def quantiles(device: torch.device) -> torch.Tensor:
    """T[0..8193] on ``device``, float32."""
    return _values().to(device)


@cache
def differences(device: torch.device) -> torch.Tensor:
    """D[i] = T[i+1] - T[i] in float32 for i = 0..8192. Computed on the CPU, so that the bits are equal on
    every device."""
    values = _values()
    return (values[1:] - values[:-1]).to(device)
