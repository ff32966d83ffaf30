"""zobench: benchmark and evaluation harness for zeroth-order optimizers and the robustness of what they
train.

``run``, ``compare``, ``read`` and ``fit`` are those of :mod:`zobench.api`. Importing this package imports no
torch; rooms (``zobench.zo``, ``zobench.tasks`` …) are imported when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zobench.api import compare, fit, read, run

__all__ = ["__version__", "compare", "fit", "read", "run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("zobench.api"), name)
