"""Minibatches for unlearning, determined by (seed, step): the same for every objective and optimizer.

They are anchored on the forget set, as in open-unlearning: ``size`` forget examples, as many retained
examples, and per example a refusal and a wording of the question, all drawn uniformly. Parts that an
objective does not read are not built; this does not change the other parts.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zobench.data.synthetic.draw import stream
from zobench.unlearning.base import Batch, Tokens
from zobench.unlearning.data import FactSplits
from zobench.unlearning.rows import FactRow, tokenize, with_answer

ROWS = {
    "forget": "forget",
    "refusal": "forget",
    "retain": "retain",
    "retain_refusal": "retain",
    "invariance": "invariance",
    "traces": "traces",
    "general": "general",
}
"""Part of a batch -> the examples it is drawn from. Parts with the same source draw the same examples."""


@dataclass(frozen=True, slots=True)
class Minibatches:
    """Draws the parts of step ``t``.

    Attributes:
        splits: source of the examples.
        size: examples in each part.
        forget: replaces the forget set of ``splits`` (a coreset, a noisy set).
        invariance: examples of an unrelated task; default: the first further domain of the splits.
    """

    tokenizer: Any
    splits: FactSplits
    size: int
    seed: int
    forget: Sequence[FactRow] = ()
    invariance: Sequence[FactRow] = ()
    device: torch.device | str = "cpu"

    def batch(self, step: int, parts: Sequence[str]) -> Batch:
        """The named parts of one step; ``ValueError`` for parts that question-and-answer data cannot give."""
        return Batch({name: self._tokens(step, name) for name in parts})

    def _tokens(self, step: int, part: str) -> Tokens:
        if part not in ROWS:
            raise ValueError(
                f"part {part!r} cannot be made from question-and-answer data; valid: {sorted(ROWS)}"
            )
        rng = stream(self.seed, "minibatch", str(step), ROWS[part])
        pool = self._pool(ROWS[part])
        rows = [_worded(rng, r) for r in rng.sample(list(pool), min(self.size, len(pool)))]
        if part.endswith("refusal"):
            rows = [with_answer(r, rng.choice(self.splits.refusals)) for r in rows]
        return tokenize(self.tokenizer, rows, device=self.device)

    def _pool(self, rows: str) -> Sequence[FactRow]:
        found = {
            "forget": self.forget or self.splits.forget,
            "retain": self.splits.retain,
            "invariance": self.invariance or next(iter(self.splits.other.values()), ()),
            "traces": self.splits.traces,
            "general": self.splits.general,
        }[rows]
        if not found:
            raise ValueError(f"the data has no examples for {rows!r}")
        return found


def _worded(rng: random.Random, row: FactRow) -> FactRow:
    return dataclasses.replace(row, question=rng.choice((row.question, *row.other_questions)))


def passes_over(
    tokenizer: Any,
    rows: Sequence[FactRow],
    *,
    size: int,
    count: int,
    seed: int,
    device: torch.device | str = "cpu",
    left_out: Collection[str] = (),
) -> list[Tokens]:
    """``count`` minibatches from repeated passes over shuffled ``rows``: the training data of a probe.

    Examples whose id is in ``left_out`` are drawn and then dropped, so that the others appear at the same
    steps. A minibatch in which all are dropped is omitted.
    """
    if not rows:
        return []
    rng, found, queue = stream(seed, "passes"), [], list[FactRow]()
    for _ in range(count):
        while len(queue) < min(size, len(rows)):
            again = list(rows)
            rng.shuffle(again)
            queue += again
        kept = [r for r in (_worded(rng, r) for r in queue[:size]) if r.id not in left_out]
        if kept:
            found.append(tokenize(tokenizer, kept, device=device))
        queue = queue[size:]
    return found
