"""Minibatches of unlearning: a function of (seed, step), the same for every objective and optimizer.

Anchored on the forget set, as in open-unlearning: ``size`` forget rows, as many retained rows, a refusal and
a wording of the question per row, all drawn uniformly. Parts that an objective does not read are not built,
and building them or not changes none of the others.
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
"""Which rows each part of a batch is made of."""


@dataclass(frozen=True, slots=True)
class Minibatches:
    """Draws the parts of step ``t``.

    Attributes:
        splits: where rows come from; ``forget`` may replace its forget set (a coreset, a noisy set).
        size: rows of each part.
        invariance: rows of an unrelated task; the first further domain of the splits by default.
    """

    tokenizer: Any
    splits: FactSplits
    size: int
    seed: int
    forget: Sequence[FactRow] = ()
    invariance: Sequence[FactRow] = ()
    device: torch.device | str = "cpu"

    def batch(self, step: int, parts: Sequence[str]) -> Batch:
        """The named parts of one step; ``ValueError`` for parts that question-and-answer rows cannot give."""
        return Batch({name: self._tokens(step, name) for name in parts})

    def _tokens(self, step: int, part: str) -> Tokens:
        if part not in ROWS:
            raise ValueError(
                f"part {part!r} cannot be made of question-and-answer rows; valid: {sorted(ROWS)}"
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
            raise ValueError(f"there are no rows for {rows!r}")
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
    """``count`` minibatches that go through shuffled ``rows`` again and again: what a probe trains on.

    Rows whose id is ``left_out`` are drawn and then dropped, so that the others come at the same steps; a
    minibatch of none but such rows is not there.
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
