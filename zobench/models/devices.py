"""Torch devices by name: checks that a name is valid and that this machine has the device."""

from __future__ import annotations

import torch


def named(device: str) -> torch.device:
    """The device of that name, whether or not this machine has it; ``ValueError`` for a name that torch does
    not know, and for ``meta``, whose tensors have no values."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is not a valid name; write cpu, cuda, cuda:1 or mps") from error
    if found.type == "meta":
        raise ValueError("device 'meta' holds no values; write cpu, cuda, cuda:1 or mps")
    return found


def missing(device: str) -> str:
    """Reason why the device cannot be used on this machine; empty if it can."""
    found = named(device)
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            return "this machine has no usable CUDA device"
        if (found.index or 0) >= count:
            return f"this machine has {count} CUDA device{'s' if count > 1 else ''}, counted from cuda:0"
        return ""
    if found.type == "mps":
        return "" if torch.backends.mps.is_available() else "this machine has no usable MPS device"
    try:
        torch.empty(0, device=found)
    except (RuntimeError, NotImplementedError, AssertionError):
        return f"this build of torch has no {found.type} device"
    return ""
