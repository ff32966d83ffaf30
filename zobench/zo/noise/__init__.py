"""Noise of the directions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zobench.zo.noise.api import Kind, axpy_, fill, gather, sample, words
    from zobench.zo.noise.backend import Backend, backend_for, use_backend
    from zobench.zo.noise.keys import derive_seed, tensor_key

_HOMES = {
    **dict.fromkeys(("Kind", "axpy_", "fill", "gather", "sample", "words"), "api"),
    **dict.fromkeys(("Backend", "backend_for", "use_backend"), "backend"),
    **dict.fromkeys(("derive_seed", "tensor_key"), "keys"),
}

__all__ = [
    "Backend",
    "Kind",
    "axpy_",
    "backend_for",
    "derive_seed",
    "fill",
    "gather",
    "sample",
    "tensor_key",
    "use_backend",
    "words",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
