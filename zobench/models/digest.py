"""Identity of weights: a digest over every stored tensor, and their number; tied tensors are taken once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch


def stored_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and persistent buffers by name in alphabetical order; of tied ones the first name only."""
    seen: set[int] = set()
    for name, tensor in sorted(module.state_dict(keep_vars=True).items()):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, tensor.detach()


def weights_digest(module: torch.nn.Module) -> str:
    """SHA-256 over name, dtype, shape and bytes of every stored tensor, the same on every device."""
    h = hashlib.sha256()
    for name, tensor in stored_tensors(module):
        h.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        raw = tensor.contiguous().cpu().reshape(-1).view(torch.uint8)
        h.update(raw.numpy().data)
    return h.hexdigest()


def parameter_count(module: torch.nn.Module) -> int:
    """Number of weights, tied ones once; buffers are not weights."""
    return sum(p.numel() for p in module.parameters())
