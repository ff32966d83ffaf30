"""Suites: YAML file -> validated schema -> plan (the full list of runs with literal specifications).

``load(path)`` and ``expand(suite)`` are re-exported lazily, so that importing this package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zobench.suite.expansion import expand
    from zobench.suite.loading import load
    from zobench.suite.problems import SuiteError

__all__ = ["SuiteError", "expand", "load"]

_HOMES = {
    "load": "zobench.suite.loading",
    "expand": "zobench.suite.expansion",
    "SuiteError": "zobench.suite.problems",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
