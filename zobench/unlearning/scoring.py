"""Per-item values of a model on facts, stored once and turned into metrics by ``unlearning.metrics``.

One forward pass per minibatch gives for every answer token its log-probability, whether it is the most
likely token, and mean and variance of log p under the predicted distribution (for min-k++).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from zobench.unlearning import terms
from zobench.unlearning.base import Tokens
from zobench.unlearning.rows import FactRow, tokenize, with_answer


@dataclass(frozen=True, slots=True)
class ItemScore:
    """One answer, token by token; the last one is the end token if it was scored.

    Attributes:
        log_probs: natural-log probability of each true token given the tokens before it.
        hits: whether it is the most likely token.
        means, variances: mean and variance of log p under the predicted distribution.
        end, value: whether the token is the end token, and whether it belongs to the value.
    """

    log_probs: tuple[float, ...]
    hits: tuple[bool, ...]
    means: tuple[float, ...]
    variances: tuple[float, ...]
    end: tuple[bool, ...]
    value: tuple[bool, ...]

    @property
    def nll(self) -> float:
        """Summed negative log-likelihood of the answer."""
        return -sum(self.log_probs)

    @property
    def loss(self) -> float:
        """Token-mean negative log-likelihood."""
        return self.nll / len(self.log_probs)

    def hits_of(self, what: str = "answer") -> list[bool]:
        """Hits of the ``answer`` without its end token, or of the ``value`` alone; ``ValueError`` if there
        are no such tokens."""
        keep = self.value if what == "value" else tuple(not e for e in self.end)
        found = [h for h, k in zip(self.hits, keep, strict=True) if k]
        if not found:
            raise ValueError(f"this answer has no {what} tokens")
        return found

    def value_probability(self) -> float:
        """Joint probability of the value's tokens; comparable with chance."""
        found = [p for p, v in zip(self.log_probs, self.value, strict=True) if v]
        if not found:
            raise ValueError("this answer has no value tokens")
        return float(np.exp(sum(found)))


@torch.no_grad()
def score_tokens(module: nn.Module, tokens: Tokens) -> list[ItemScore]:
    """Scores of one minibatch. Cost: one forward pass."""
    keep = terms.mask(tokens)
    log_p = terms.logits(module, tokens)[keep].log_softmax(-1)
    labels = terms.labels(tokens)[keep]
    p = log_p.exp()
    means = (p * log_p).sum(-1)
    variances = (p * (log_p - means[:, None]) ** 2).sum(-1)
    true = log_p.gather(-1, labels[:, None])[:, 0]
    hits = log_p.argmax(-1) == labels
    columns = (true, hits, means, variances, tokens.end[:, 1:][keep], tokens.value[:, 1:][keep])
    parts = [c.split(keep.sum(1).tolist()) for c in columns]
    return [ItemScore(*(tuple(c[r].tolist()) for c in parts)) for r in range(len(keep))]


def score_rows(
    module: nn.Module, tokenizer: Any, rows: Sequence[FactRow], *, batch: int = 64, **layout: Any
) -> list[ItemScore]:
    """Scores in the order of ``rows``. Cost: one forward pass per ``batch`` facts."""
    device = next(module.parameters()).device
    found: list[ItemScore] = []
    for i in range(0, len(rows), batch):
        part = tuple(rows[i : i + batch])
        found += score_tokens(module, _tokenized(tokenizer, part, device, tuple(layout.items())))
    return found


@functools.lru_cache(maxsize=512)
def _tokenized(
    tokenizer: Any, rows: tuple[FactRow, ...], device: torch.device, layout: tuple[tuple[str, Any], ...]
) -> Tokens:
    """Tokenized facts, cached: the same facts are scored after every probe, and tokenizing takes as long as
    a forward pass of a small model."""
    return tokenize(tokenizer, rows, device=device, **dict(layout))


@dataclass(frozen=True, slots=True)
class TruthLosses:
    """Token-mean losses for truth ratios, by item."""

    correct: tuple[float, ...]
    wrong: tuple[tuple[float, ...], ...]


def truth_losses(module: nn.Module, tokenizer: Any, rows: Sequence[FactRow], **options: Any) -> TruthLosses:
    """Losses of the paraphrased answer (else the answer) and of every perturbed answer of each fact."""
    lacking = [r.id for r in rows if not r.perturbed_answers]
    if lacking:
        raise ValueError(f"{len(lacking)} facts have no perturbed answers, first {lacking[0]!r}")

    def losses(changed: Iterable[FactRow]) -> list[float]:
        return [s.loss for s in score_rows(module, tokenizer, list(changed), **options)]

    correct = losses(with_answer(r, r.paraphrased_answer or r.answer) for r in rows)
    flat = iter(losses(with_answer(r, wrong) for r in rows for wrong in r.perturbed_answers))
    return TruthLosses(tuple(correct), tuple(tuple(next(flat) for _ in r.perturbed_answers) for r in rows))
