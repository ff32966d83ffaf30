"""Model utility: the harmonic mean of named scores, stored with its parts; 0 if any part is 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Utility:
    """The harmonic mean and its parts."""

    value: float
    parts: Mapping[str, float]


def model_utility(parts: Mapping[str, float]) -> Utility:
    """Harmonic mean of named values in [0, 1].

    TOFU's parts are probability, ROUGE-L recall and truth ratio (``utility``), each on retained facts, real
    authors and world facts."""
    if not parts:
        raise ValueError("utility needs at least one part")
    outside = {k: v for k, v in parts.items() if not 0 <= v <= 1}
    if outside:
        raise ValueError(f"parts of utility must lie in [0, 1]: {outside}")
    values = np.array(list(parts.values()))
    mean = 0.0 if (values == 0).any() else float(len(values) / (1 / values).sum())
    return Utility(mean, dict(parts))
