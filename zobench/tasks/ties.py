"""Options with exactly equal scores, and which of them is the answer.

Logits in half precision have few values (bfloat16 has 128 between 16 and 32), so that the best option is
often not the only one. Taking the first would answer with class 0 more often than the model does. The rule:
of the tied options the one whose SHA-256 of (example id, option) is least. It depends on nothing else, so
that it is the same on every machine, in every batch and for every method; it prefers no class and no place in
the list; and where nothing ties it changes nothing. Where a minibatch is scored without examples
(:mod:`zobench.tasks.scores`) each of k tied options counts as 1/k chosen, the mean over all ways to choose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

TIES = "ties"
"""Metric: number of rows whose best options tie; recorded where there are any."""


def chosen_option(scores: torch.Tensor, example_id: str, options: Sequence[str]) -> int:
    """Index of the best-scored option, ``scores`` of shape (options,); see the module's text for ties."""
    best = int(scores.argmax())
    tied = torch.nonzero(scores == scores[best]).flatten().tolist()
    if len(tied) < 2:
        return best
    return min(tied, key=lambda i: (_draw(example_id, options[i]), i))


def _draw(example_id: str, option: str) -> bytes:
    return hashlib.sha256(f"{example_id}\0{option}".encode("utf-8", "surrogatepass")).digest()


def count_ties(log_probs: Sequence[Sequence[float] | None]) -> int:
    """How many of these predictions have several best options."""
    return sum(row is not None and list(row).count(max(row)) > 1 for row in log_probs)
