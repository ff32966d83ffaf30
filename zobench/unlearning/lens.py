"""Logit lens: what each block already knows of the answer.

The output of every block is read through the model's own final norm and head. For the last block that is
what the model says.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from zobench.unlearning import terms
from zobench.unlearning.base import Tokens


@torch.no_grad()
def logit_lens(module: nn.Module, tokens: Tokens, *, value: bool = False) -> list[float]:
    """Share of answer tokens (of the value's tokens, with ``value``) that each block's output, normed and
    decoded, has as its most likely token; first block first. One pass.

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
        raise ValueError("these rows have no value tokens" if value else "these rows have no answer tokens")
    head = cast(nn.Module, inner.get_output_embeddings())
    blocks = [head(final(h)) for h in out.hidden_states[1:-1]] + [out.logits]
    hits = [b[:, :-1].argmax(-1) == terms.labels(tokens) for b in blocks]
    return [float(h[keep].double().mean()) for h in hits]
