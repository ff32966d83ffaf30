"""Results as something to look at: leaderboard page, terminal table, comparison of two results folders.

Reads only the store. Nothing is imported until used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zobench.report.build import build
    from zobench.report.diff import compare_folders
    from zobench.report.terminal import summary

__all__ = ["build", "compare_folders", "summary"]

_HOMES = {"build": "build", "compare_folders": "diff", "summary": "terminal"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"zobench.report.{_HOMES[name]}"), name)
