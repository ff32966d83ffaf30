"""Prompts to model inputs: answer positions for label words, whole sequences for option likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zobench.models.base import LanguageModel
from zobench.models.batching import Rows, batched, pad_id
from zobench.models.encoding import encode_plain, encode_prompts, truncate_around, truncate_left
from zobench.tasks.prompts import Prompt


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One sequence of a batch.

    Attributes:
        ids: token ids.
        position: column of the mask token (masked models; else 0).
        option: length of the option in tokens (option likelihoods; else 0).
        types: token types, if an encoder uses them.
        target: the option's tokens for the decoder of an encoder-decoder model, which are not in ``ids``.
    """

    ids: list[int]
    position: int = 0
    option: int = 0
    types: list[int] | None = None
    target: Sequence[int] = ()


def label_word_ids(lm: LanguageModel, prompt: Prompt) -> list[int]:
    """The token that represents each label word at the answer position.

    Causal: the first token of the word as it continues the template; it must differ between words. Masked:
    the word with a space before it must be a single token.

    Raises:
        ValueError: words with the same first token, or longer than one token for a masked model.
    """
    words = prompt.words
    if lm.architecture == "masked":
        pieces = [encode_plain(lm.tokenizer, " " + w) for w in words]
        long = [w for w, p in zip(words, pieces, strict=True) if len(p) != 1]
        if long:
            raise ValueError(
                f"{lm.identity.name}: label words {long} are not single tokens of its vocabulary"
            )
        ids = [p[0] for p in pieces]
    else:
        # The word is tokenized after the template's own end, which may merge with it; "." where it is empty.
        start, separator = (prompt.tail or ".", prompt.separator) if lm.chat is None else lm.chat.ending
        base = encode_plain(lm.tokenizer, start)
        ids = []
        for word in words:
            full = encode_plain(lm.tokenizer, start + separator + word)
            grown = full[: len(base)] == base and len(full) > len(base)
            ids.append(full[len(base)] if grown else encode_plain(lm.tokenizer, separator + word)[0])
    if len(set(ids)) != len(ids):
        raise ValueError(f"{lm.identity.name}: label words {list(words)} do not differ in their first token")
    return ids


def causal_rows(lm: LanguageModel, contexts: Sequence[str]) -> list[EncodedRow]:
    """One sequence per context; contexts that are too long lose tokens on the left."""
    encoded = encode_prompts(lm.tokenizer, contexts, special=lm.chat is None)
    return [EncodedRow(truncate_left(ids, lm.max_length, lm.tokenizer)) for ids in encoded]


def masked_rows(lm: LanguageModel, texts: Sequence[str]) -> list[EncodedRow]:
    """One sequence per text, which must contain the tokenizer's mask token once; texts that are too long are
    cut on the side that is farther from the mask."""
    rows = []
    for ids in lm.tokenizer(list(texts), verbose=False)["input_ids"]:
        places = [i for i, token in enumerate(ids) if token == lm.tokenizer.mask_token_id]
        if len(places) != 1:
            raise ValueError(f"{lm.identity.name}: {len(places)} mask tokens in the encoded prompt, not one")
        cut, position = truncate_around(ids, lm.max_length, places[0])
        rows.append(EncodedRow(cut, position=position))
    return rows


def option_rows(lm: LanguageModel, contexts: Sequence[str], completed: Sequence[str]) -> list[EncodedRow]:
    """One sequence per completed text.

    The length of the option is the number of tokens that the completed text has more than its context, each
    encoded alone."""
    special = lm.chat is None
    before = encode_prompts(lm.tokenizer, contexts, special=special)
    whole = encode_prompts(lm.tokenizer, completed, special=special)
    lone = encode_prompts(lm.tokenizer, [""])[0]
    rows = []
    for context, ids, text in zip(before, whole, completed, strict=True):
        if context == lone and ids[: len(lone)] != lone:
            ids = [*lone, *ids]  # an empty prompt is one token: put it before the option as well
        option = len(ids) - len(context)
        if option < 1:
            raise ValueError(f"an option adds no token to its prompt: {text[-80:]!r}")
        kept = truncate_left(ids, lm.max_length, lm.tokenizer)
        rows.append(EncodedRow(kept, option=min(option, len(kept) - 1)))
    return rows


def padded(lm: LanguageModel, rows: Sequence[EncodedRow]) -> Rows:
    """Model arguments for these sequences, padded on the side that the architecture needs, or in groups of
    equal length if padding changes the model's logits."""
    causal = lm.architecture == "causal"
    return batched(
        [r.ids for r in rows],
        mixing=lm.way.rows,
        fill=pad_id(lm.tokenizer),
        side="left" if causal else "right",
        device=lm.device,
        first_position=lm.way.first_position if causal else None,
        types=_types(rows),
    )


def _types(rows: Sequence[EncodedRow]) -> list[list[int]] | None:
    found = [r.types for r in rows if r.types is not None]
    return found if len(found) == len(rows) else None


def option_targets(rows: Sequence[EncodedRow], device: torch.device) -> Mapping[str, Any]:
    """``targets`` and ``target_mask`` for :func:`zobench.models.scoring.option_log_likelihoods`."""
    width = max(r.option for r in rows)
    targets = [[0] * (width - r.option) + r.ids[len(r.ids) - r.option :] for r in rows]
    mask = [[0.0] * (width - r.option) + [1.0] * r.option for r in rows]
    return {
        "targets": torch.tensor(targets, device=device),
        "target_mask": torch.tensor(mask, device=device),
    }
