"""Which implementation computes the noise: ``reference`` (torch), ``numba`` (CPU) or ``triton`` (CUDA).

All give the same bits and differ in speed only. The backend is chosen by the tensor's device and by the
installed packages. It can be forced with :func:`use_backend`. Its name belongs into the run's record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Literal, get_args

import torch

Backend = Literal["reference", "numba", "triton"]

_forced: ContextVar[Backend | None] = ContextVar("zobench_noise_backend", default=None)


@cache
def _installed(package: str) -> bool:
    return find_spec(package) is not None


def backend_for(tensor: torch.Tensor) -> Backend:
    """Name of the backend that :func:`fill` and :func:`axpy_` use for this tensor.

    Raises:
        ValueError: the forced backend cannot serve the tensor's device.
    """
    device = tensor.device.type
    forced = _forced.get()
    if forced is not None:
        _require(forced, device)
        return forced
    if device == "cpu" and _installed("numba"):
        return "numba"
    if device == "cuda" and _installed("triton"):
        return "triton"
    return "reference"


def _require(backend: Backend, device: str) -> None:
    if backend == "numba" and device != "cpu":
        raise ValueError(f"the numba backend works on CPU tensors, not on {device}")
    if backend == "triton" and device != "cuda" and not _interpreting():
        raise ValueError(f"the triton backend works on CUDA tensors, not on {device}")


def _interpreting() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@contextmanager
def use_backend(name: Backend) -> Iterator[None]:
    """Force a backend inside the ``with`` block (this thread or task only).

    Raises:
        ValueError: unknown name, or the package it needs is not installed.
    """
    if name not in get_args(Backend):
        raise ValueError(f"unknown noise backend {name!r}; known: {', '.join(get_args(Backend))}")
    if name != "reference" and not _installed(name):
        raise ValueError(f"noise backend {name!r} requested, but the package {name} is not installed")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)
