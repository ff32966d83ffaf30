"""Logit lens: how much of the answer each block already predicts.

The output of every block is decoded by the model's own final norm and head. For the last block this is the
model's prediction.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from zobench.unlearning import terms
from zobench.unlearning.base import Tokens


@torch.no_grad()
def logit_lens(module: nn.Module, tokens: Tokens, *, value: bool = False) -> list[float]:
    """For each block, the share of answer tokens (of value tokens, with ``value``) that its decoded output
    has as the most likely token; first block first. Cost: one forward pass.

    ``ValueError`` for models without a final norm at ``model.norm`` (Llama, Qwen, Mistral, Gemma have it).
    """
    inner: Any = module
    try:
        final = module.get_submodule("model.norm")
    except AttributeError as error:
        raise ValueError(f"the logit lens needs the final norm at model.norm: {error}") from error
    out = inner(**tokens.inputs, use_cache=False, output_hidden_states=True)
    keep = (tokens.value if value else tokens.target)[:, 1:]
    if not keep.any():
        raise ValueError("these facts have no value tokens" if value else "these facts have no answer tokens")
    head = cast(nn.Module, inner.get_output_embeddings())
    true = terms.labels(tokens)[keep]

    def share(logits: torch.Tensor) -> float:
        return float((logits.argmax(-1) == true).double().mean())

    # transformers applies the final norm to the last hidden state, so the model's own logits are used there.
    return [
        *(share(head(final(h[:, :-1][keep]))) for h in out.hidden_states[1:-1]),
        share(out.logits[:, :-1][keep]),
    ]
