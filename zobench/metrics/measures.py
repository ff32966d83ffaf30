"""What is known of a metric by its name: between which values it lies, and whether less of it is better.

A name is read word by word (``ece_15_equal_width`` has the words ``ece``, ``15``, ``equal``, ``width``), up
to a colon (``auc:loss``). A name that nothing is known of has no bounds, and more of it is better.
"""

from __future__ import annotations

import re

Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)
GAP: Bounds = (-1.0, 1.0)
_GAPS = re.compile(r"(^|_)(net|drop)(_|$)")
_SHARES = re.compile(
    r"(^|_)(accuracy|acc|rate|em|exact|f1|probability|recall|precision|auc|knowmem|verbmem|share|ece"
    r"|certified|defence_success|extraction|memorization|retained)(_|:|$)"
)
_LESS = re.compile(
    r"(^|_)(loss|nll|brier|ece|perplexity|ppl|bits|error|rmse|mse|mae|wer|cer|ter|drop|pdr|regret)(_|:|$)"
)
_FORGOTTEN = re.compile(r"^forget_(?!quality|truth_ratio|log10)")
"""What an unlearned model should have less of: all scores of the forget set but those that compare it with
the oracle."""


def bounds(metric: str) -> Bounds | None:
    """(0, 1) for a share, (-1, 1) for a difference of two; ``None`` where nothing is known."""
    name = metric.split(":")[0]
    return GAP if _GAPS.search(name) else SHARE if _SHARES.search(name) else None


def in_percent(metric: str) -> bool:
    """Whether values are shown in percent: shares, their differences, and drops relative to a share."""
    return bounds(metric) is not None or metric == "pdr"


def gap_of(bounds: Bounds | None) -> Bounds | None:
    """Between what the difference of two such quantities lies."""
    return None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])


def higher_is_better(metric: str) -> bool:
    """False for losses, calibration and forecast errors, and for scores of what was to be forgotten."""
    name = metric.split(":")[0]
    return not (_LESS.search(name) or _FORGOTTEN.match(name))
