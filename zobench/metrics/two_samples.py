"""Separation of two groups by a score: area under the ROC curve, true-positive rate at a false-positive rate.

Convention: a higher score means that an item is *less* likely to be a member.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from zobench.metrics.arrays import Floats


def vector(values: Any, name: str) -> Floats:
    """A non-empty one-dimensional float array, or ``ValueError`` naming the argument."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must be a non-empty sequence of numbers, not of shape {array.shape}")
    return array


def auc(members: Any, others: Any) -> float:
    """P(score of a non-member > score of a member) + P(equal)/2."""
    a, b = vector(members, "members"), vector(others, "others")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("membership scores must be finite")
    ranks = stats.rankdata(np.concatenate([a, b]))
    wins = ranks[len(a) :].sum() - len(b) * (len(b) + 1) / 2
    return float(wins / (len(a) * len(b)))


def tpr_at_fpr(members: Any, others: Any, fpr: float) -> float:
    """True-positive rate of the threshold whose false-positive rate is at most ``fpr``.

    A text with a score below the threshold is classified as a member. The threshold is the largest score of a
    non-member such that at most floor(fpr * n) of the n non-members are below it.

    Raises:
        ValueError: there are fewer than 1/fpr non-members, so that no false positive would be allowed.
    """
    a, b = vector(members, "members"), vector(others, "others")
    if not 0 < fpr < 1:
        raise ValueError(f"a false-positive rate must lie in (0, 1), not {fpr}")
    if len(b) * fpr < 1 - 1e-9:
        needed = int(np.ceil(1 / fpr - 1e-9))
        raise ValueError(
            f"true-positive rate at {fpr:.2%} false positives needs {needed} non-members, not {len(b)}"
        )
    allowed = int(len(b) * fpr + 1e-9)
    threshold = np.sort(b)[allowed]
    return float((a < threshold).mean())
