"""Documents to rows (sequences) of token ids for causal and masked training.

Each row contains whole documents, each followed by the end token, and padding of weight 0. Rows for masked
training also have some positions replaced by the mask.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from zobench.data.synthetic.corpus import Document

CHUNK = 512
MASKED = 0.15
WAITING = 64
"""Documents held back for a row with enough room."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    ids: list[int]
    weights: list[float]
    """Weight of each id as a target."""


def encoded(documents: Iterator[Document], tokenizer: PreTrainedTokenizerFast) -> Iterator[PackedRow]:
    """One row per document, tokenized a chunk at a time."""
    end = tokenizer.eos_token_id
    while True:
        chunk = [next(documents) for _ in range(CHUNK)]
        texts = [text for d in chunk for text, _ in d.segments]
        pieces = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
        for document in chunk:
            ids: list[int] = []
            weights: list[float] = []
            for _, weight in document.segments:
                piece = next(pieces)
                ids += piece
                weights += [weight] * len(piece)
            yield PackedRow([*ids, end], [*weights, 1.0])


def packed(rows: Iterator[PackedRow], length: int, pad: int) -> Iterator[PackedRow]:
    """Rows of exactly ``length`` of whole documents, chosen first-fit from a waiting list, oldest first."""
    waiting: list[PackedRow] = []
    while True:
        while len(waiting) < WAITING:
            row = next(rows)
            assert len(row.ids) <= length
            waiting.append(row)
        ids: list[int] = []
        weights: list[float] = []
        left: list[PackedRow] = []
        for row in waiting:
            if len(ids) + len(row.ids) <= length:
                ids += row.ids
                weights += row.weights
            else:
                left.append(row)
        waiting = left
        gap = length - len(ids)
        yield PackedRow(ids + [pad] * gap, weights + [0.0] * gap)


def causal_batches(rows: Iterator[PackedRow], size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Ids and weights, both (size, length)."""
    while True:
        batch = [next(rows) for _ in range(size)]
        yield torch.tensor([r.ids for r in batch]), torch.tensor([r.weights for r in batch])


def masked_batches(
    rows: Iterator[PackedRow], size: int, mask_id: int, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Ids with 15 % of the positions replaced by the mask, the attention mask, and the targets, all of shape
    (size, length); targets are -100 at positions that are not masked.
    """
    for ids, weights in causal_batches(rows, size):
        real = weights > 0
        draws = torch.tensor([rng.random() for _ in range(ids.numel())]).view(ids.shape)
        chosen = (draws < MASKED) & real
        yield ids.masked_fill(chosen, mask_id), real.long(), ids.masked_fill(~chosen, -100)
