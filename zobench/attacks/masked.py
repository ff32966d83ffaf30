"""Candidates of a masked language model, for many positions of many texts in one batch.

The word is replaced by the mask token inside a window of characters; the whole words of highest probability
at that position are the candidates. Contexts are sorted by length and padded per batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from zobench.attacks.lexical import readable
from zobench.models.batching import grouped

WINDOW = 600
"""Characters of context on each side."""


class MaskedFiller:
    """Service ``masked``: items ``(text, start, end)``, replies lists of (word, probability), best first.

    Args:
        lm: a masked model.
        top: candidates per position.
        batch: positions per forward pass, at most.

    Raises:
        ValueError: ``lm`` is not a masked model.
    """

    def __init__(self, lm: Any, *, top: int = 50, batch: int = 64) -> None:
        if lm.architecture != "masked":
            raise ValueError(
                f"masked_lm: {lm.identity.name!r} is a {lm.architecture} model, not a masked one"
            )
        self._lm, self._top, self._batch = lm, top, batch
        self._known: dict[tuple[str, str], list[tuple[str, float]]] = {}

    def __call__(self, items: list[tuple[str, int, int]]) -> list[list[tuple[str, float]]]:
        contexts = [(text[max(0, a - WINDOW) : a], text[b : b + WINDOW]) for text, a, b in items]
        fresh = sorted(
            {c for c in contexts if c not in self._known}, key=lambda c: (len(c[0]) + len(c[1]), c)
        )
        for at in range(0, len(fresh), self._batch):
            chunk = fresh[at : at + self._batch]
            lengths = [len(self._row(*c)) for c in chunk]
            # How many contexts may share a forward pass with equal bits is the model's own limit.
            for rows in grouped(lengths, self._lm.way.rows):
                together = [chunk[i] for i in rows]
                self._known.update(zip(together, self._fill(together), strict=True))
        return [self._known[c] for c in contexts]

    def _fill(self, contexts: list[tuple[str, str]]) -> list[list[tuple[str, float]]]:
        tokenizer = self._lm.tokenizer
        rows = [self._row(left, right) for left, right in contexts]
        longest = max(len(r) for r in rows)
        pad = tokenizer.pad_token_id or 0
        ids = torch.tensor([r + [pad] * (longest - len(r)) for r in rows], device=self._lm.device)
        mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows], device=self._lm.device)
        with torch.no_grad():
            logits = self._lm.module(input_ids=ids, attention_mask=mask).logits
        at = (ids == tokenizer.mask_token_id).int().argmax(dim=1)
        chosen = logits[torch.arange(len(rows), device=ids.device), at].float()
        best = chosen.softmax(dim=-1).topk(min(self._top, chosen.shape[-1]), dim=-1)
        return [
            [(w, p) for w, p in zip(self._words(i), v, strict=True) if w]
            for i, v in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _row(self, left: str, right: str) -> list[int]:
        """Token ids around one mask token, cut from both ends to the model's length."""
        tokenizer = self._lm.tokenizer
        before = tokenizer(left.rstrip(), add_special_tokens=False)["input_ids"] if left.strip() else []
        after = tokenizer(right, add_special_tokens=False)["input_ids"] if right.strip() else []
        # Three tokens are the mask and the two special ones.
        room = (self._lm.max_length - 3) // 2
        head = [i for i in (tokenizer.cls_token_id,) if i is not None]
        tail = [i for i in (tokenizer.sep_token_id,) if i is not None]
        return [*head, *before[-room:], tokenizer.mask_token_id, *after[:room], *tail]

    def _words(self, ids: list[int]) -> list[str]:
        """Decoded tokens; an empty string for pieces of words and for unreadable text."""
        tokens = self._lm.tokenizer.convert_ids_to_tokens(ids)
        texts = [t.strip() for t in self._lm.tokenizer.batch_decode([[i] for i in ids])]
        return [
            text if not token.startswith("##") and readable(text) else ""
            for token, text in zip(tokens, texts, strict=True)
        ]


@lru_cache(maxsize=2)
def load_filler(name: str) -> MaskedFiller:
    """The masked model of that name, loaded once per process."""
    from zobench.models.loading import load
    from zobench.spec import ModelRef

    return MaskedFiller(load(ModelRef(name=name, architecture="masked")))
