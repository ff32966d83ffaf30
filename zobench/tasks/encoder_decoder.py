"""Examples for an encoder-decoder model: the encoder reads the prompt, the decoder is scored on the answer.

The encoder gets the prompt with the tokenizer's special tokens. The decoder gets its start token, the special
tokens that the tokenizer puts before a target text (BART: ``<s>``; T5: none), and the answer's tokens:

    log p(answer | prompt) = sum_t log p(a_t | prompt, start, a_<t).

Answers are tokenized as target texts. The end token is part of an answer that is trained to be generated,
and not of an option that is scored. Both sides are padded on the right; later tokens of the decoder have no
effect on earlier ones, and the encoder masks its padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zobench.models.base import LanguageModel
from zobench.models.batching import batched, pad_id
from zobench.models.decoding import decoder_prefix
from zobench.models.encoding import encode_sources, encode_target
from zobench.tasks.encoding import EncodedRow


def source_rows(lm: LanguageModel, prompts: Sequence[str]) -> list[EncodedRow]:
    """One sequence per prompt for the encoder; prompts that are too long lose tokens on the left."""
    return [EncodedRow(ids) for ids in encode_sources(lm.tokenizer, prompts, lm.max_length)]


def answer_rows(
    lm: LanguageModel, prompts: Sequence[str], answers: Sequence[str], *, ends: bool = False
) -> list[EncodedRow]:
    """One sequence per prompt and answer; ``ends``: with the end token behind the answer.

    Raises:
        ValueError: an answer without tokens.
    """
    rows = []
    for row, answer in zip(source_rows(lm, prompts), answers, strict=True):
        target = encode_target(lm.tokenizer, answer, ends=ends)[: lm.max_length]
        if not target:
            raise ValueError(f"an option adds no token to its prompt: {answer[-80:]!r}")
        rows.append(EncodedRow(row.ids, option=len(target), target=target))
    return rows


def first_tokens(lm: LanguageModel, words: Sequence[str]) -> list[int]:
    """The first token of each label word as an answer; ``ValueError`` if they do not differ."""
    ids = [encode_target(lm.tokenizer, word)[0] for word in words]
    if len(set(ids)) != len(ids):
        raise ValueError(f"{lm.identity.name}: label words {list(words)} do not differ in their first token")
    return ids


def inputs_of(lm: LanguageModel, rows: Sequence[EncodedRow]) -> dict[str, Any]:
    """Arguments of :func:`zobench.models.scoring.option_log_likelihoods`; ``padded`` has the decoder's tokens
    as well. Rows without a target get the decoder's first tokens alone."""
    fill = pad_id(lm.tokenizer)
    width = max(len(r.target) for r in rows)
    prefix = decoder_prefix(lm.module, lm.tokenizer)
    # The last token of an answer predicts nothing that is scored.
    decoder = [[*prefix, *r.target[:-1]] for r in rows]
    longest = len(prefix) + max(width - 1, 0)
    padded = batched(
        [r.ids for r in rows],
        mixing=lm.way.rows,
        fill=fill,
        side="right",
        device=lm.device,
        decoder=[ids + [fill] * (longest - len(ids)) for ids in decoder],
    )
    targets = [[*r.target, *[0] * (width - len(r.target))] for r in rows]
    mask = [[1.0] * len(r.target) + [0.0] * (width - len(r.target)) for r in rows]
    return {
        "padded": padded,
        "targets": torch.tensor(targets, device=lm.device),
        "target_mask": torch.tensor(mask, device=lm.device),
    }
