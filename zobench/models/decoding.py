"""Next-token logits step by step, with a cache or by computing whole sequences again.

One object holds the rows (sequences) of a batch: :func:`begin` computes the logits after the prompts,
``advance`` those after one more token of each row, ``keep`` drops rows that have ended. The model's
:class:`~zobench.models.way.Way` decides whether and how a cache is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutput

from zobench.models.batching import batched, pad
from zobench.models.encoding import target_marks
from zobench.models.scoring import causal_logits, last_columns
from zobench.models.shared_prefix import prediction_tokens, prefill, takes_packs, worth_packing
from zobench.models.way import Way

Ids = Sequence[int]


class Decoding(Protocol):
    """A batch of sequences during decoding."""

    logits: torch.Tensor
    """Next-token logits of the rows, shape (rows, vocabulary)."""

    def advance(self, tokens: torch.Tensor) -> None:
        """Append one token to each row, shape (rows,), and compute the next ``logits``: one forward pass."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with these rows only; the next ``advance`` takes their tokens."""
        ...


def begin(module: Any, way: Way, rows: Sequence[Ids], *, fill: int, packs: bool = True) -> Decoding:
    """Start decoding from non-empty rows of token ids.

    Cost: one forward pass. Prompts with long common prefixes are packed instead, with one forward pass for
    each full batch of packs; ``packs=False`` forbids this, for modules that treat rows differently."""
    if way.cache is None:
        return _Recomputed(module, way, rows, fill)
    return _Cached(module, way, rows, fill, packs)


class _Recomputed:
    """Decoding without a cache: every step computes all tokens of the rows."""

    def __init__(self, module: Any, way: Way, rows: Sequence[Ids], fill: int) -> None:
        self._module, self._way, self._fill = module, way, fill
        self._rows = [list(r) for r in rows]
        self._compute()

    def _compute(self) -> None:
        device = next(self._module.parameters()).device
        given = batched(
            self._rows,
            mixing=self._way.rows,
            fill=self._fill,
            side="left",
            device=device,
            first_position=self._way.first_position,
        )
        self.logits = causal_logits(self._module, given)[:, -1]

    def advance(self, tokens: torch.Tensor) -> None:
        for row, token in zip(self._rows, tokens.tolist(), strict=True):
            row.append(token)
        self._compute()

    def keep(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[i] for i in rows]


class _Cached:
    """Decoding with a cache of keys and values, or of states: a step computes one token of each row.

    If rows cannot be removed from the cache, they stay in the batch and are continued with padding.
    """

    def __init__(self, module: Any, way: Way, rows: Sequence[Ids], fill: int, packs: bool) -> None:
        self._module, self._way, self._fill = module, way, fill
        self._alive: list[int] | None = None
        device = next(module.parameters()).device
        first = way.first_position
        padded = pad(rows, fill=fill, side="left", device=device, first_position=first)
        self._mask = padded.get("attention_mask", torch.ones_like(padded["input_ids"]))
        self._held: Any = None
        # Packs count positions from 0 and hand over keys and values; other settings go the plain way.
        plain = packs and first == 0 and way.cache == "past_key_values"
        if plain and worth_packing(rows) and takes_packs(module):
            self.logits, self._held = prefill(module, rows, tokens=prediction_tokens(device))
            return
        if way.cache != "state":
            self._held = DynamicCache(config=module.config)
        self.logits = self._forward({**padded, "attention_mask": self._mask})

    def _forward(self, arguments: dict[str, torch.Tensor]) -> torch.Tensor:
        assert self._way.cache is not None
        held = {} if self._held is None else {self._way.cache: self._held}
        out = self._module(**arguments, **held, use_cache=True, logits_to_keep=1)
        if self._way.cache == "state":
            self._held = out.state
        return last_columns(out.logits, 1)[:, -1]

    def advance(self, tokens: torch.Tensor) -> None:
        if self._alive is not None:
            whole = tokens.new_full((self._mask.shape[0],), self._fill)
            whole[self._alive] = tokens
            tokens = whole
        self._mask = torch.cat([self._mask, self._mask.new_ones(self._mask.shape[0], 1)], 1)
        arguments = {"input_ids": tokens[:, None]}
        if self._way.cache == "past_key_values":  # states have no columns to mask
            arguments["attention_mask"] = self._mask
        if self._way.first_position is not None:
            arguments["position_ids"] = self._mask.sum(1, keepdim=True) - 1 + self._way.first_position
        logits = self._forward(arguments)
        self.logits = logits if self._alive is None else logits[self._alive]

    def keep(self, rows: Sequence[int]) -> None:
        if not self._way.selects:
            alive = range(self._mask.shape[0]) if self._alive is None else self._alive
            self._alive = [alive[i] for i in rows]
            return
        index = torch.tensor(rows, device=self._mask.device)
        self._held.batch_select_indices(index)
        self._mask = self._mask[index]


def decoder_prefix(module: Any, tokenizer: Any) -> list[int]:
    """The tokens that the decoder of an encoder-decoder model begins with: its start token, and the special
    tokens that the tokenizer puts before a target text (BART: ``<s>``)."""
    return [int(module.config.decoder_start_token_id), *target_marks(tokenizer)[0]]


class FromEncoder:
    """Decoding by an encoder-decoder model: the encoder runs once, every step computes the whole decoder.

    Args:
        rows: token ids for the encoder.
        prefix: tokens that every answer begins with (:func:`decoder_prefix`).
    """

    def __init__(
        self, module: Any, way: Way, rows: Sequence[Ids], *, fill: int, prefix: Sequence[int]
    ) -> None:
        self._module = module
        device = next(module.parameters()).device
        padded = pad(rows, fill=fill, side="right", device=device)
        assert way.rows == "padded" or "attention_mask" not in padded, "rows that must not be padded"
        self._encoded: torch.Tensor = module.get_encoder()(**padded).last_hidden_state
        self._mask = padded.get("attention_mask")
        self._ids = torch.tensor([list(prefix)] * len(rows), device=device)
        self._compute()

    def _compute(self) -> None:
        self.logits = self._module(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._mask,
            decoder_input_ids=self._ids,
            use_cache=False,
        ).logits[:, -1]

    def advance(self, tokens: torch.Tensor) -> None:
        self._ids = torch.cat([self._ids, tokens[:, None]], 1)
        self._compute()

    def keep(self, rows: Sequence[int]) -> None:
        index = torch.tensor(list(rows), device=self._ids.device)
        self._encoded, self._ids = self._encoded[index], self._ids[index]
        self._mask = None if self._mask is None else self._mask[index]
