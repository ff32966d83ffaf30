"""Validation shared by method configs: each check raises ``ValueError`` naming the field and its value."""

from __future__ import annotations

import math
from collections.abc import Sequence


def rate(key: str, value: float) -> None:
    """A finite number of at least 0 (learning rates, decay)."""
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{key} must be a finite number of at least 0, got {value!r}")


def positive(key: str, value: float) -> None:
    """A finite number above 0 (smoothing radii)."""
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{key} must be a finite number above 0, got {value!r}")


def count(key: str, value: int, least: int = 1) -> None:
    """An integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{key} must be an integer of at least {least}, got {value!r}")


def share(key: str, value: float, *, one: bool = False) -> None:
    """A number in [0, 1), or [0, 1] with ``one`` (momentum and decay factors)."""
    if not 0 <= value <= 1 or (value == 1 and not one):
        raise ValueError(f"{key} must be in [0, 1{']' if one else ')'}, got {value!r}")


def moments(beta1: float, beta2: float, **guard: float) -> None:
    """The decays of two moments and the number above 0 that keeps their quotient finite."""
    share("beta1", beta1)
    share("beta2", beta2)
    for key, value in guard.items():
        positive(key, value)


def choice(key: str, value: str, valid: Sequence[str]) -> None:
    """One of the listed words."""
    if value not in valid:
        raise ValueError(f"{key} must be one of {', '.join(valid)}; got {value!r}")
