"""The array type of the statistics, and the distinction between variation and rounding error.

Equal differences of accuracies are rarely equal as binary numbers: 0.7 - 0.6, 0.8 - 0.7 and 0.9 - 0.8 differ
by 1e-16. Variation of that size is rounding error. A difference divided by it would appear extremely
significant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ABSOLUTE, RELATIVE = 1e-12, 1e-9
"""A range up to the larger of these (the second times the largest magnitude) is rounding error."""


def settled(values: Floats) -> Floats:
    """The values, where groups along the last axis that differ only by rounding error are made exactly equal.

    Such a group is replaced by its mean, or by 0 if the mean is rounding error too; other groups are
    returned unchanged.
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
    """Sample variances along the last axis of :func:`settled` values; exactly 0 for a group of equal values.

    The plain formula does not ensure this: the mean of seven equal numbers may differ from them in the last
    bit.
    """
    values = settled(values)
    return np.where(np.ptp(values, axis=-1) > 0, values.var(axis=-1, ddof=1), 0.0)


def comparable(value: float) -> float:
    """A mean rounded for comparing and sorting, so that means of equal totals are equal."""
    return float(np.round(value, 12))
