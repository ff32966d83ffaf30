"""The kinds of parameter space that a suite may use, with the frozen dataclass of each kind's parameters."""

from __future__ import annotations

import importlib
from typing import Any


def space_kinds() -> dict[str, type]:
    """Kind -> dataclass of its parameters, from the optimizer library (needs torch)."""
    spaces: dict[str, type] = importlib.import_module("zobench.zo.space").SPACES
    return spaces


def space_config(kind: str) -> type:
    """The dataclass of one kind's parameters."""
    return space_kinds()[kind]


def space_refusal(space: Any, module: Any) -> str:
    """Why a space (its dataclass) cannot be built on a module without weights; empty if it can."""
    refusal: str = importlib.import_module("zobench.zo.space").refusal(space, module)
    return refusal


def offload_refusal(module: Any) -> str:
    """Why a module without weights cannot be visited block by block; empty if it can."""
    refusal: str = importlib.import_module("zobench.zo.blocks").refusal(module)
    return refusal
