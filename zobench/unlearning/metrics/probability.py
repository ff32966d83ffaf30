"""Probability of the right answer among options (TOFU, arXiv 2401.06121)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zobench.metrics.two_samples import Floats, vector

FLOOR = 1e-10
"""Added to a sum of probabilities before dividing by it, as in open-unlearning."""


def among_options(correct: Any, wrong: Sequence[Any]) -> Floats:
    """p_correct / (p_correct + sum of p_wrong + 1e-10) per item: TOFU's measure on real authors and world
    facts. Inputs are probabilities, normalized for length."""
    p = vector(correct, "correct")
    others = np.array([vector(w, "wrong").sum() for w in wrong])
    if len(others) != len(p):
        raise ValueError(f"{len(p)} items, but wrong options for {len(others)}")
    return p / (p + others + FLOOR)
