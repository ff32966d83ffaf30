"""The kinds of parameter space that a suite may use, with the frozen dataclass of each kind's parameters."""

from __future__ import annotations

import importlib


def space_kinds() -> dict[str, type]:
    """Kind -> dataclass of its parameters, from the optimizer library (needs torch)."""
    spaces: dict[str, type] = importlib.import_module("zobench.zo.space").SPACES
    return spaces


def space_config(kind: str) -> type:
    """The dataclass of one kind's parameters."""
    return space_kinds()[kind]
