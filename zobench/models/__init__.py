"""Loading, scoring and generation.

``zobench.models.load(ref)`` is imported on first use, so importing this package does not load torch."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zobench.models.loading import load

    return load
