"""Accuracy of ``nano-mlm`` on masked words of fresh text, with the share of the most frequent token."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import torch

from zobench.data.synthetic.corpus import documents
from zobench.data.synthetic.draw import stream
from zobench.models.language_model import LoadedModel

SEED = 31
DOCUMENTS = 400
KINDS = ("sentiment", "topic", "inference", "aside", "problem")


@torch.no_grad()
def masked_accuracy(lm: LoadedModel) -> tuple[float, dict[str, Any]]:
    """Share of masked tokens predicted correctly, one per document, and the same by kind of text."""
    rng = stream(SEED, "masked gate")
    fresh = (d for d in documents(SEED) if d.kind in KINDS)
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    golds: Counter[int] = Counter()
    for document in itertools.islice(fresh, DOCUMENTS):
        ids = lm.tokenizer(document.text)["input_ids"]
        place = rng.randrange(len(ids))
        golds[ids[place]] += 1
        shown = torch.tensor([ids])
        shown[0, place] = lm.tokenizer.mask_token_id
        guess = int(lm.module(input_ids=shown).logits[0, place].argmax())
        right[document.kind] += guess == ids[place]
        total[document.kind] += 1
    detail = {kind: round(right[kind] / total[kind], 3) for kind in sorted(total)}
    detail["most_frequent_token"] = round(golds.most_common(1)[0][1] / DOCUMENTS, 3)
    return round(sum(right.values()) / DOCUMENTS, 4), detail
