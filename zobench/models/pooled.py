"""An encoder with mean pooling and a linear classification head, for models without a language-model head.

    logits = W mean_t(h_t) + b,   the mean over the sequence's real tokens.

The head is drawn at loading from its own generator, for ``HEAD_CLASSES`` classes, so the model does not
depend on the task; a task uses the logits of the first classes.
"""

from __future__ import annotations

import numpy as np
import torch

HEAD_CLASSES = 8
HEAD_STD = 0.02
HEAD_SEED = 0


class PooledEncoder(torch.nn.Module):
    """Mean-pooled last hidden states of ``encoder``, followed by a linear ``head`` with weights N(0, 0.02^2)
    and bias 0."""

    def __init__(self, encoder: torch.nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = _head(width, next(encoder.parameters()))

    def features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean of the last hidden states over each sequence's real tokens, shape (rows, width)."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        out = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types)
        hidden: torch.Tensor = out.last_hidden_state
        if attention_mask is None:
            return hidden.mean(1)
        weights = attention_mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of shape (rows, ``HEAD_CLASSES``)."""
        logits: torch.Tensor = self.head(self.features(input_ids, attention_mask, token_type_ids))
        return logits


def _head(width: int, like: torch.Tensor) -> torch.nn.Linear:
    head = torch.nn.utils.skip_init(torch.nn.Linear, width, HEAD_CLASSES)
    # NumPy's draws in float64, rounded to float32: those of torch.randn depend on the level of the processor.
    draws = np.random.default_rng(HEAD_SEED).standard_normal(tuple(head.weight.shape))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(draws * HEAD_STD))
        head.bias.zero_()
    return head.to(device=like.device, dtype=like.dtype)
