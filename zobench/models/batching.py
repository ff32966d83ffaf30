"""Token sequences to tensors: padding with correct positions, and batches of similar length.

Causal models are padded on the left, so that the answer position is the last column of every row; masked
models and encoders on the right. Rows of equal length get no attention mask at all, which is the fastest path
of every backend.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch

Side = Literal["left", "right"]


def takes_position_ids(module: torch.nn.Module) -> bool:
    """Whether the module's forward has an argument ``position_ids`` (models with relative positions have
    none)."""
    return "position_ids" in inspect.signature(module.forward).parameters


def pad_id(tokenizer: Any) -> int:
    """The padding token, else end of text, else 0: padded places are masked, their token has no influence."""
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
    positions: bool = False,
) -> dict[str, torch.Tensor]:
    """Model arguments for rows of token ids.

    Args:
        fill: token id for padded places.
        positions: also give position ids that count from 0 at each row's first real token (left padding needs
            them).

    Returns:
        ``input_ids`` of shape (rows, longest); with padding also ``attention_mask`` and, if asked,
        ``position_ids``.
    """
    longest = max(len(s) for s in sequences)
    gaps = [longest - len(s) for s in sequences]
    if side == "left":
        ids = [[fill] * gap + list(s) for gap, s in zip(gaps, sequences, strict=True)]
        mask = [[0] * gap + [1] * len(s) for gap, s in zip(gaps, sequences, strict=True)]
    else:
        ids = [list(s) + [fill] * gap for gap, s in zip(gaps, sequences, strict=True)]
        mask = [[1] * len(s) + [0] * gap for gap, s in zip(gaps, sequences, strict=True)]
    padded = {"input_ids": torch.tensor(ids, device=device)}
    if any(gaps):
        attention = torch.tensor(mask, device=device)
        padded["attention_mask"] = attention
        if positions:
            padded["position_ids"] = (attention.cumsum(1) - 1).clamp_min(0)
    return padded


def chunks_by_length(lengths: Sequence[int], *, max_tokens: int, max_rows: int = 256) -> list[list[int]]:
    """Indices grouped into batches of similar length, longest first, each of at most ``max_tokens`` padded
    tokens.

    The grouping depends on the lengths and their order alone. A single row longer than ``max_tokens`` is a
    batch.
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
