"""Extraction strength, exact memorization, and memorization of the last k tokens, from teacher-forced hits.

A token is a hit if it is the most likely one given the true tokens before it. The input is one sequence of
booleans per item, without the end token. Template words inflate all of these metrics (a retain-only TOFU
model has exact memorization of about .6), so pass the hits of value tokens alone if they are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Hits = Sequence[bool]
Floor = Literal["zero", "open-unlearning"]


def _checked(hits: Hits) -> list[bool]:
    found = [bool(h) for h in hits]
    if not found:
        raise ValueError("an answer without tokens cannot be memorized")
    return found


def extraction_strength(hits: Hits, floor: Floor = "zero") -> float:
    """1 - k/T, where every token from position k on is a hit (k minimal, T tokens).

    If the last token is not a hit, k = T and the strength is 0. The released code of open-unlearning stops at
    k = T - 1, so its value is never below 1/T: ``floor="open-unlearning"`` reproduces it.
    """
    found = _checked(hits)
    k = len(found)
    while k > 0 and found[k - 1]:
        k -= 1
    if floor == "open-unlearning":
        k = min(k, len(found) - 1)
    return 1 - k / len(found)


def exact_memorization(hits: Hits) -> float:
    """Share of tokens that are hits."""
    return float(np.mean(_checked(hits)))


def last_tokens(hits: Hits, k: int) -> bool:
    """Whether the last ``k`` tokens (all, if there are fewer) are hits: ghost-sentence memorization."""
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return all(_checked(hits)[-k:])
