"""Negative log-likelihoods of whole texts, one forward pass each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from zobench.models.base import LanguageModel


def text_passes(lm: LanguageModel, texts: Sequence[str]) -> Iterator[Callable[[], torch.Tensor]]:
    """For each text a function that runs the model on it and returns the sum of the negative log-likelihoods
    (nats) of its tokens after the first, and their number."""
    for text in texts:
        ids = torch.tensor([lm.tokenizer(text, add_special_tokens=False)["input_ids"]], device=lm.device)
        ids = ids[:, : lm.max_length]

        def run(ids: torch.Tensor = ids) -> torch.Tensor:
            logits = lm.module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, :-1]
            losses = torch.nn.functional.cross_entropy(logits.float(), ids[0, 1:], reduction="sum")
            return torch.stack([losses, torch.tensor(float(ids.shape[1] - 1), device=losses.device)])

        yield run
