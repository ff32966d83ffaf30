"""An encoder with mean pooling and a linear classification head, for models that have no language-model head.

logits = W mean_t(h_t) + b,   the mean over the row's real tokens.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from zobench.models.digest import parameter_count, weights_digest


class PooledEncoder(torch.nn.Module):
    """Mean-pooled last hidden states through ``head`` (identity until :func:`attach_head`)."""

    def __init__(self, encoder: torch.nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head: torch.nn.Module = torch.nn.Identity()
        self.width = width

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Shape (rows, classes), or (rows, width) without a head."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if attention_mask is None:
            return self.head(hidden.mean(1))
        weights = attention_mask[:, :, None].to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1).clamp_min(1))


def attach_head(lm: Any, classes: int, *, seed: int = 0, std: float = 0.02) -> None:
    """Give an encoder a fresh linear head: weights N(0, std^2) from their own generator, bias 0; identity
    updated.

    Does nothing if a head for as many classes is there already. Raises ``ValueError`` on a model without
    pooling.
    """
    if not isinstance(lm.module, PooledEncoder):
        raise ValueError(f"{lm.identity.name}: a classification head needs architecture 'encoder'")
    module = lm.module
    if isinstance(module.head, torch.nn.Linear) and module.head.out_features == classes:
        return
    reference = next(module.encoder.parameters())
    head = torch.nn.utils.skip_init(torch.nn.Linear, module.width, classes, device="cpu", dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * std)
        head.bias.zero_()
    module.head = head.to(device=reference.device, dtype=reference.dtype).eval()
    lm.identity = dataclasses.replace(
        lm.identity, digest=weights_digest(module), parameters=parameter_count(module)
    )
