"""ZeroTuning's parameter space: one factor per attention head on the first token's key.

k_0 <- gamma_h k_0 for every head h, with gamma = 1 at the start: the attention logits of all tokens on the
first token of the sequence are multiplied by gamma_h before the softmax. This is done by a forward hook on
the key projections, which works with any attention kernel; rotary embeddings are linear and commute with it.
With left padding, the first token is the first 1 in ``attention_mask`` (read from the module's keyword
arguments).

The factors can be tuned by any method of this library. Source: arXiv 2505.11739 (head-wise attention of the
initial token). The paper's other form multiplies the attention weights and renormalizes them; fused kernels
do not give access to these weights.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo.parameters import CountOrZero, Parameters, Patterns
from zobench.zo.space.base import ParameterSpace


@dataclass(frozen=True)
class ZeroTuning(Parameters):
    """Head-wise factors on the first token's keys.

    Attributes:
        heads: key heads per projection; 0: ``num_key_value_heads`` or ``num_attention_heads`` of the model's
            config, 1 without a config.
        targets: glob patterns that are matched with a linear layer's name and with its last part, to select
            the key projections.
    """

    heads: CountOrZero = 0
    targets: Patterns = ("k_proj", "key")

    def build(self, module: nn.Module) -> ParameterSpace:
        chosen = {
            n: m
            for n, m in module.named_modules()
            if isinstance(m, nn.Linear)
            and any(fnmatch.fnmatchcase(part, p) for p in self.targets for part in (n, n.rpartition(".")[2]))
        }
        if not chosen:
            raise ValueError(f"space 'zerotuning': {list(self.targets)} match no linear layer")
        heads = self.heads or _heads(module)
        for name, linear in chosen.items():
            if linear.out_features % heads:
                raise ValueError(
                    f"space 'zerotuning': {name!r} has {linear.out_features} outputs for {heads} heads"
                )
        first = _FirstToken()
        handles: list[Any] = [module.register_forward_pre_hook(first.look, with_kwargs=True)]
        for linear in chosen.values():
            ones = torch.ones(heads, dtype=linear.weight.dtype, device=linear.weight.device)
            linear.register_parameter("first_token", nn.Parameter(ones, requires_grad=False))
            handles.append(linear.register_forward_hook(first.scale))

        def remove() -> None:
            for handle in handles:
                handle.remove()
            for linear in chosen.values():
                del linear._parameters["first_token"]

        return ParameterSpace(module, [f"{n}.first_token" for n in chosen], kind="zerotuning", remove=remove)


def _heads(module: nn.Module) -> int:
    config = getattr(module, "config", None)
    if config is None:
        return 1
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


class _FirstToken:
    """Positions of the first tokens in the current forward pass, and the scaling of their keys."""

    def __init__(self) -> None:
        self.positions: torch.Tensor | None = None

    def look(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        self.positions = None
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            self.positions = mask.long().argmax(dim=1)

    def scale(self, linear: Any, args: Any, keys: torch.Tensor) -> torch.Tensor:
        """Keys (batch x tokens x heads * width) with those of each sequence's first token scaled per head."""
        factors = linear.first_token.repeat_interleave(keys.shape[-1] // linear.first_token.shape[0])
        token = torch.arange(keys.shape[-2], device=keys.device)
        here = token == 0 if self.positions is None else token[None, :] == self.positions[:, None]
        return torch.where(here[..., None], keys * factors, keys)
