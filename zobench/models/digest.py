"""Identity of weights: a digest over every stored tensor, and the parameter count; tied ones count once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch


def stored_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and persistent buffers in alphabetical order of names; tied ones under their first name."""
    seen: set[int] = set()
    # ``keep_vars``: state_dict otherwise returns detached copies, whose ids do not show which are tied.
    for name, tensor in sorted(module.state_dict(keep_vars=True).items()):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, tensor.detach()


def weights_digest(module: torch.nn.Module) -> str:
    """SHA-256 over name, dtype, shape and bytes of every stored tensor; independent of the device."""
    h = hashlib.sha256()
    for name, tensor in stored_tensors(module):
        h.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        raw = tensor.contiguous().cpu().reshape(-1).view(torch.uint8)
        h.update(raw.numpy().data)
    return h.hexdigest()


def parameter_count(module: torch.nn.Module) -> int:
    """Number of weights; tied weights count once, buffers do not count."""
    return sum(p.numel() for p in module.parameters())
