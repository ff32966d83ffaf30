"""The type of the arrays that statistics are computed on, and what counts as a spread in them.

Equal differences of accuracies are rarely equal as binary numbers: 0.7 - 0.6, 0.8 - 0.7 and 0.9 - 0.8 differ
by 1e-16. A spread of that size is rounding. Divided by it, a difference would look certain beyond all
measure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ABSOLUTE, RELATIVE = 1e-12, 1e-9
"""A spread up to the larger of these (the second times the largest magnitude) is rounding."""


def settled(values: Floats) -> Floats:
    """The values with groups along the last axis that differ by rounding only made exactly equal.

    Such a group becomes its mean, and 0 if that is rounding as well; every other group keeps its bits.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        return values
    low, high = values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True)
    bound = np.maximum(ABSOLUTE, RELATIVE * np.maximum(np.abs(low), np.abs(high)))
    mean = values.mean(axis=-1, keepdims=True)
    mean = np.where(np.abs(mean) <= ABSOLUTE, 0.0, mean)
    return np.where(high - low <= bound, mean, values)


def variance(values: Floats) -> Floats:
    """Sample variances along the last axis of :func:`settled` values; exactly 0 for a group without a spread.

    The plain formula is not: the mean of seven equal numbers may miss them by its last bit.
    """
    values = settled(values)
    return np.where(np.ptp(values, axis=-1) > 0, values.var(axis=-1, ddof=1), 0.0)


def comparable(value: float) -> float:
    """A mean for comparing and sorting: means of equal totals are equal after it."""
    return float(np.round(value, 12))
