"""Options with exactly equal scores, and the rule that chooses the answer among them.

Logits in half precision have few values (bfloat16 has 128 between 16 and 32), so several options often share
the best score. Taking the first would favour class 0. The rule: choose the tied option with the least SHA-256
of (example id, option). It depends on nothing else, so it is the same on every machine, in every batch and
for every method; it favours no class and no position in the list. Where a minibatch is scored without
examples (:mod:`zobench.tasks.scores`), each of k tied options counts as 1/k chosen, the mean over all ways to
choose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

TIES = "ties"
"""Metric: number of examples with several best options; recorded if it is not 0."""


def chosen_option(scores: torch.Tensor, example_id: str, options: Sequence[str]) -> int:
    """Index of the best-scored option, ``scores`` of shape (options,); ties by the rule of this module."""
    best = int(scores.argmax())
    tied = torch.nonzero(scores == scores[best]).flatten().tolist()
    if len(tied) < 2:
        return best
    return min(tied, key=lambda i: (_draw(example_id, options[i]), i))


def _draw(example_id: str, option: str) -> bytes:
    return hashlib.sha256(f"{example_id}\0{option}".encode("utf-8", "surrogatepass")).digest()


def count_ties(log_probs: Sequence[Sequence[float] | None]) -> int:
    """Number of these predictions with several best options."""
    return sum(row is not None and list(row).count(max(row)) > 1 for row in log_probs)
