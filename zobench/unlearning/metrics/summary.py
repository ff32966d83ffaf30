"""One number from many: model utility with its parts, and scores relative to oracle and full model.

    utility = harmonic mean of the parts (any part 0 gives 0)
    S       = (m - m_oracle) / (m_full - m_oracle)

S is 0 for the retain-only oracle and 1 for the full model. After a probe all three numbers are those after
it, so that what the probe does to the oracle too is not taken for recovered knowledge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Utility:
    """Harmonic mean and what it is over."""

    value: float
    parts: Mapping[str, float]


def model_utility(parts: Mapping[str, float]) -> Utility:
    """Harmonic mean of named numbers in [0, 1]; TOFU's are probability, ROUGE-L recall and truth ratio
    (``utility``) on retained facts, real authors and world facts."""
    if not parts:
        raise ValueError("utility needs at least one part")
    outside = {k: v for k, v in parts.items() if not 0 <= v <= 1}
    if outside:
        raise ValueError(f"parts of utility must lie in [0, 1]: {outside}")
    values = np.array(list(parts.values()))
    mean = 0.0 if (values == 0).any() else float(len(values) / (1 / values).sum())
    return Utility(mean, dict(parts))


def normalized(measured: float, oracle: float, full: float, smallest_gap: float = 0.01) -> float:
    """S of the module's text; ``nan`` where full model and oracle are less than ``smallest_gap`` apart:
    there S is noise over noise."""
    gap = full - oracle
    return math.nan if abs(gap) < smallest_gap else (measured - oracle) / gap


def recovered(after: float, before: float, full: float) -> float:
    """Share of what was forgotten that a probe brings back, (after - before) / (full - before); ``nan`` where
    nothing was forgotten."""
    gap = full - before
    return math.nan if abs(gap) < 1e-6 else (after - before) / gap


def excess_recovery(
    after: float, before: float, full: float, oracle_after: float, oracle_before: float
) -> float:
    """The unlearned model's :func:`recovered` share minus the oracle's under the same probe: 0 for a model
    that responds like one that never knew."""
    return recovered(after, before, full) - recovered(oracle_after, oracle_before, full)
