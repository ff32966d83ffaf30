"""zobench: benchmark for zeroth-order optimizers and for the robustness of the models that they train.

``run``, ``compare``, ``read`` and ``fit`` are those of :mod:`zobench.api`. Importing this package does not
import torch. Import the subpackage that is needed (``zobench.zo``, ``zobench.tasks`` …).
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
