"""Token sequences to tensors: padding with correct positions, and batches of similar length.

Causal models are padded on the left, so that the answer position is the last column of every row; masked
models and encoders are padded on the right. Rows of equal length get no attention mask, which is the fastest
path of every backend. If padding changes a model's logits, its rows are passed as :class:`Groups` of equal
length. A *row* is one sequence of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from zobench.models.way import Mixing

Side = Literal["left", "right"]
Padded = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows that must not be padded, as several batches of equal length.

    Attributes:
        parts: arguments of one forward pass each.
        rows: for each part, the indices of its rows in the whole batch.
        back: index of each row in the concatenation of the parts.
    """

    parts: tuple[Padded, ...]
    rows: tuple[torch.Tensor, ...]
    back: torch.Tensor


Rows = Padded | Groups
"""Arguments of a model for some rows: one batch, or several that must stay apart."""


def over_rows(given: Rows, run: Callable[[Padded, torch.Tensor | None], torch.Tensor]) -> torch.Tensor:
    """``run(arguments, rows)`` for one batch (``rows`` is ``None``: all rows), or for each group; the results
    are concatenated in the order of the rows."""
    if not isinstance(given, Groups):
        return run(given, None)
    found = [run(part, rows) for part, rows in zip(given.parts, given.rows, strict=True)]
    return torch.cat(found).index_select(0, given.back)


def grouped(lengths: Sequence[int], mixing: Mixing) -> list[list[int]]:
    """Groups of row indices that may share a batch, in the order of their first row."""
    keys = {"padded": lambda i: 0, "equal": lambda i: lengths[i], "single": lambda i: i}
    groups: dict[int, list[int]] = {}
    for row in range(len(lengths)):
        groups.setdefault(keys[mixing](row), []).append(row)
    return list(groups.values())


def pad_id(tokenizer: Any) -> int:
    """The padding token, else end of text, else 0. Padded positions are masked: the token has no effect."""
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if candidate is not None:
            return int(candidate)
    return 0


def pad(
    sequences: Sequence[Sequence[int]],
    *,
    fill: int,
    side: Side,
    device: torch.device,
    first_position: int | None = None,
    types: Sequence[Sequence[int]] | None = None,
    decoder: Sequence[Sequence[int]] | None = None,
) -> dict[str, torch.Tensor]:
    """Model arguments for rows of token ids.

    Args:
        fill: token id for padded positions.
        first_position: if given, also return position ids that start from this number at each row's first
            real token (left padding needs them).
        types: token types of the rows, padded with 0.
        decoder: token ids for the decoder of an encoder-decoder model, all of one length.

    Returns:
        ``input_ids`` of shape (rows, longest); with padding also ``attention_mask`` and, if
        ``first_position`` is given, ``position_ids``; with ``types`` also ``token_type_ids``, with
        ``decoder`` also ``decoder_input_ids``.
    """
    longest = max(len(s) for s in sequences)
    gaps = [longest - len(s) for s in sequences]

    def filled(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
        rests = [[value] * gap for gap in gaps]
        pairs = zip(rests, rows, strict=True)
        whole = [rest + list(r) if side == "left" else list(r) + rest for rest, r in pairs]
        return torch.tensor(whole, device=device)

    padded = {"input_ids": filled(sequences, fill)}
    if any(gaps):
        attention = filled([[1] * len(s) for s in sequences], 0)
        padded["attention_mask"] = attention
        if first_position is not None:
            # Padded positions get the first position too: an id below 0 would be no row of a position table.
            padded["position_ids"] = (attention.cumsum(1) - 1).clamp_min(0) + first_position
    if types is not None:
        padded["token_type_ids"] = filled(types, 0)
    if decoder is not None:
        padded["decoder_input_ids"] = torch.tensor([list(r) for r in decoder], device=device)
    return padded


def batched(
    sequences: Sequence[Sequence[int]],
    *,
    mixing: Mixing,
    fill: int,
    side: Side,
    device: torch.device,
    first_position: int | None = None,
    types: Sequence[Sequence[int]] | None = None,
    decoder: Sequence[Sequence[int]] | None = None,
) -> Rows:
    """:func:`pad`, or :class:`Groups` if not all rows may share a batch."""

    def part(rows: Sequence[int]) -> dict[str, torch.Tensor]:
        chosen = [sequences[i] for i in rows]
        kinds = None if types is None else [types[i] for i in rows]
        targets = None if decoder is None else [decoder[i] for i in rows]
        return pad(
            chosen,
            fill=fill,
            side=side,
            device=device,
            first_position=first_position,
            types=kinds,
            decoder=targets,
        )

    groups = grouped([len(s) for s in sequences], mixing)
    if len(groups) == 1:
        return part(groups[0])
    order = torch.tensor([row for rows in groups for row in rows], device=device)
    rows = tuple(torch.tensor(g, device=device) for g in groups)
    return Groups(tuple(part(g) for g in groups), rows, order.argsort())


def chunks_by_length(lengths: Sequence[int], *, max_tokens: int, max_rows: int = 256) -> list[list[int]]:
    """Indices grouped into batches of similar length, longest first.

    Each batch has at most ``max_tokens`` padded tokens and ``max_rows`` rows; a single row longer than
    ``max_tokens`` is a batch of its own. The grouping depends on the lengths and their order alone.
    """
    chunks: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = bool(chunks) and len(chunks[-1]) < max_rows and (len(chunks[-1]) + 1) * width <= max_tokens
        if fits:
            chunks[-1].append(index)
        else:
            chunks.append([index])
            width = max(lengths[index], 1)
    return chunks
