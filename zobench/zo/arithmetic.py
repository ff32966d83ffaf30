"""Elementwise multiply-adds with a defined order of rounding: the product is rounded, then the sum.

``tensor.add_(other, alpha=a)``, ``addcmul_`` and ``lerp_`` fuse both operations into one rounding on
processors with such an instruction. Their last bits therefore depend on the processor
(``torch.backends.cpu.get_cpu_capability()``). Separate operations are rounded as IEEE 754 requires on every
processor. The cost is one temporary tensor of the same size.
"""

from __future__ import annotations

import torch


def add_scaled_(target: torch.Tensor, other: torch.Tensor, scale: float) -> torch.Tensor:
    """target <- target + round(scale * other), in place; returns ``target``.

    Half-precision targets are computed in float32 and rounded once.
    """
    if target.dtype in (torch.float16, torch.bfloat16):
        return target.copy_(target.float().add_(other.float().mul(scale)))
    return target.add_(other.to(target.dtype).mul(scale))


def add_square_(target: torch.Tensor, other: torch.Tensor, scale: float) -> torch.Tensor:
    """target <- target + round(scale * round(other^2)), in place; returns ``target``."""
    return target.add_(torch.square(other).mul_(scale))
