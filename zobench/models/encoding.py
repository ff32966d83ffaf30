"""Text to token ids: prompts with the tokenizer's own beginning, truncation that keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def encode_prompts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text as the start of a sequence: a beginning token where the tokenizer adds one, no
    end token.

    An empty text becomes one beginning-of-text (else end-of-text) token, so that every row can be continued.
    """
    if not texts:
        return []
    rows: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    end = tokenizer.eos_token_id if tokenizer.num_special_tokens_to_add() > 0 else None
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    trimmed = [r[:-1] if end is not None and len(r) > 1 and r[-1] == end else r for r in rows]
    return [r or [start if start is not None else 0] for r in trimmed]


def encode_plain(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a piece in the middle of a text, without special tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def truncate_left(ids: list[int], limit: int, tokenizer: Any) -> list[int]:
    """The last ``limit`` ids; a beginning-of-text token stays in front."""
    if len(ids) <= limit:
        return ids
    if tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id and limit > 1:
        return ids[:1] + ids[len(ids) - limit + 1 :]
    return ids[len(ids) - limit :]


def truncate_around(ids: list[int], limit: int, position: int) -> tuple[list[int], int]:
    """At most ``limit`` ids that keep the first, the last and the one at ``position``; returns its new place
    too.

    Tokens are dropped from the side that is farther from ``position``, nearest the edge first.
    """
    excess = len(ids) - limit
    if excess <= 0:
        return ids, position
    before, after = position - 1, len(ids) - 2 - position
    from_left = min(before, excess) if before >= after else max(0, excess - max(after, 0))
    from_right = excess - from_left
    kept = [*ids[:1], *ids[1 + from_left : len(ids) - 1 - from_right], ids[-1]]
    return kept, position - from_left
