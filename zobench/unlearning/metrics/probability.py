"""Probability of the answer, normalized for length or among options (TOFU, arXiv 2401.06121).

Inputs are natural-log numbers per item: ``nll`` the summed negative log-likelihood of the answer's tokens,
``tokens`` how many there are (the end token included where the model was trained on it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zobench.metrics.two_samples import Floats, vector

FLOOR = 1e-10
"""Added to a sum of probabilities before dividing by it, as open-unlearning does."""


def among_options(correct: Any, wrong: Sequence[Any]) -> Floats:
    """p_correct / (p_correct + sum of p_wrong + 1e-10) per item, from probabilities: TOFU's measure on
    real authors and world facts."""
    p = vector(correct, "correct")
    others = np.array([vector(w, "wrong").sum() for w in wrong])
    if len(others) != len(p):
        raise ValueError(f"{len(p)} items, wrong options for {len(others)}")
    return p / (p + others + FLOOR)
