"""How well a score tells two groups apart: area under the curve, true-positive rate at a false-positive rate.

Scores are higher where an item is *less* likely one of the members.
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
    """P(score of another > score of a member) + P(equal)/2."""
    a, b = vector(members, "members"), vector(others, "others")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("membership scores must be finite")
    ranks = stats.rankdata(np.concatenate([a, b]))
    wins = ranks[len(a) :].sum() - len(b) * (len(b) + 1) / 2
    return float(wins / (len(a) * len(b)))


def tpr_at_fpr(members: Any, others: Any, fpr: float) -> float:
    """Share of members found by the lowest threshold's rule that takes at most ``fpr`` of the others for one.

    Scores are higher where the text is less likely a member, so a text is called one below the threshold; the
    threshold is the largest score at which at most floor(fpr * n) of the n others lie below it.

    Raises:
        ValueError: fewer than 1/fpr others, of which not one may be mistaken: the rate cannot be told from 0.
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
