"""Text to token ids: prompts with the tokenizer's beginning tokens, and truncation that keeps them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any


def encode_prompts(tokenizer: Any, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
    """Token ids of each text as the start of a sequence; ``special=False`` for texts of a chat template,
    which contain their special tokens.

    The beginning token is kept if the tokenizer adds one; tokens that it adds after a text (an end token,
    ``[SEP]``) are removed. An empty text becomes one beginning-of-text (else end-of-text) token, so that
    every row can be continued.
    """
    if not texts:
        return []
    if not special:
        given: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return given
    rows: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    behind = closing(tokenizer)
    size = len(behind)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    trimmed = [r[:-size] if size and len(r) > size and r[-size:] == behind else r for r in rows]
    return [r or [start if start is not None else 0] for r in trimmed]


def encode_sources(tokenizer: Any, texts: Sequence[str], limit: int) -> list[list[int]]:
    """Token ids of each text for an encoder, with all special tokens. Texts of more than ``limit`` tokens
    lose tokens on the left, but not the tokens that the tokenizer adds behind a text."""
    if not texts:
        return []
    rows: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    kept = len(closing(tokenizer))
    return [
        truncate_left(ids[: len(ids) - kept], max(limit - kept, 1), tokenizer) + ids[len(ids) - kept :]
        for ids in rows
    ]


def encode_target(tokenizer: Any, text: str, *, ends: bool = False) -> list[int]:
    """Token ids of a target text for a decoder, without the special tokens before it; ``ends``: with those
    behind it."""
    ids: list[int] = tokenizer(text_target=text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids + target_marks(tokenizer)[1] if ends else ids


def target_marks(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and behind a target text."""
    plain = encode_target(tokenizer, "a")
    full: list[int] = tokenizer(text_target="a", verbose=False)["input_ids"]
    for at in range(len(full) - len(plain) + 1):
        if plain and full[at : at + len(plain)] == plain:
            return full[:at], full[at + len(plain) :]
    return [], []


@functools.lru_cache(maxsize=16)
def _closing(tokenizer: Any) -> tuple[int, ...]:
    if tokenizer.num_special_tokens_to_add() == 0:
        return ()
    plain, full = encode_plain(tokenizer, "a"), tokenizer("a", verbose=False)["input_ids"]
    for at in range(len(full) - len(plain) + 1):
        if plain and full[at : at + len(plain)] == plain:
            return tuple(full[at + len(plain) :])
    # With special tokens the text itself was tokenized differently: only an end token can be identified.
    return tuple(full[-1:]) if full[-1:] == [tokenizer.eos_token_id] else ()


def closing(tokenizer: Any) -> list[int]:
    """The special tokens that the tokenizer adds after a text."""
    return list(_closing(tokenizer))


def trims_more(tokenizer: Any) -> bool:
    """Whether prompts lose other tokens than the end token, which is the only one that revision 1 removed."""
    return closing(tokenizer) not in ([], [tokenizer.eos_token_id])


def encode_plain(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a piece in the middle of a text, without special tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def truncate_left(ids: list[int], limit: int, tokenizer: Any) -> list[int]:
    """The last ``limit`` ids; a beginning-of-text token is kept in front."""
    if len(ids) <= limit:
        return ids
    if tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id and limit > 1:
        return ids[:1] + ids[len(ids) - limit + 1 :]
    return ids[len(ids) - limit :]


def truncate_around(ids: list[int], limit: int, position: int) -> tuple[list[int], int]:
    """At most ``limit`` ids with the first, the last and the one at ``position``, and its new position.

    Tokens are dropped from the longer side of ``position``, starting at the edge.
    """
    excess = len(ids) - limit
    if excess <= 0:
        return ids, position
    before, after = position - 1, len(ids) - 2 - position
    from_left = min(before, excess) if before >= after else max(0, excess - max(after, 0))
    from_right = excess - from_left
    kept = [*ids[:1], *ids[1 + from_left : len(ids) - 1 - from_right], ids[-1]]
    return kept, position - from_left
