"""Extraction strength, exact memorization, and memorization of the last k tokens, from teacher-forced hits.

A hit is: the most likely token, given the true tokens before it, is the true one. Input is one sequence of
booleans per item, the end token left out. Template words inflate all of these (a retain-only TOFU model has
exact memorization of about .6), so give hits of value tokens alone where they are known.
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
    """1 - k/T, k the first position from which every token is a hit.

    With no hit at the last position, k = T and the strength is 0. The released code of open-unlearning stops
    at k = T - 1 and so never falls below 1/T: ``floor="open-unlearning"`` gives its number.
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
    """Whether the last ``k`` tokens (all, where there are fewer) are hits: ghost-sentence memorization."""
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return all(_checked(hits)[-k:])
