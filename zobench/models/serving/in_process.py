"""The Hugging Face model of this process as a server: adapters as branches of one batch.

The product with the base weights is computed for the rows of all adapters together; the low-rank part of each
row's own adapter is added by a hook on the linear layer. The weights are never written. Results agree with
those of each adapter alone up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from zobench.models.base import LanguageModel
from zobench.models.batching import batched, pad_id
from zobench.models.encoding import encode_prompts
from zobench.models.generation import generate_under_branches, most_probable
from zobench.models.sampled import Draws
from zobench.models.scoring import option_log_likelihoods
from zobench.models.serving.base import Adapter, AnswerSettings


class InProcess:
    """A loaded causal model as a server."""

    def __init__(self, lm: LanguageModel) -> None:
        self.lm = lm

    def generate(
        self, prompts: Sequence[str], adapters: Sequence[Adapter | None], decoding: AnswerSettings
    ) -> list[list[str]]:
        """As :meth:`Server.generate`; cost: one forward pass of all rows per generated token."""
        choose: Any = most_probable
        if decoding.temperature > 0:
            # Each row draws from its own stream: equal seeds give the branches equal numbers.
            choose = Draws(decoding.temperature, [*decoding.seeds] * len(adapters))
        with _attached(self.lm.module, adapters):
            return generate_under_branches(
                self.lm,
                prompts,
                len(adapters),
                max_new_tokens=decoding.max_new_tokens,
                stop=decoding.stop,
                choose=choose,
            )

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[str], answers: Sequence[str], adapters: Sequence[Adapter | None]
    ) -> list[list[float]]:
        """As :meth:`Server.score`; cost: one forward pass of all rows."""
        lm = self.lm
        special = lm.chat is None
        before = encode_prompts(lm.tokenizer, prompts, special=special)
        texts = [p + a for p, a in zip(prompts, answers, strict=True)]
        whole = encode_prompts(lm.tokenizer, texts, special=special)
        sizes = [len(w) - len(p) for p, w in zip(before, whole, strict=True)]
        if min(sizes, default=1) < 1:
            raise ValueError("an answer adds no token to its prompt")
        width = max(sizes)
        targets = [[0] * (width - n) + ids[len(ids) - n :] for ids, n in zip(whole, sizes, strict=True)]
        mask = [[0.0] * (width - n) + [1.0] * n for n in sizes]
        count = len(adapters)
        given = batched(
            whole * count,
            mixing=lm.way.rows,
            fill=pad_id(lm.tokenizer),
            side="left",
            device=lm.device,
            first_position=lm.way.first_position,
        )
        with _attached(lm.module, adapters):
            sums = option_log_likelihoods(
                lm.module,
                given,
                torch.tensor(targets * count, device=lm.device),
                torch.tensor(mask * count, device=lm.device),
            )
        found: list[list[float]] = sums.view(count, -1).tolist()
        return found


@contextmanager
def _attached(module: nn.Module, adapters: Sequence[Adapter | None]) -> Iterator[None]:
    """Inside the block, row group b of n equal groups of rows computes with adapter b.

    ``ValueError``: no adapters, or an adapter names no linear layer of the module."""
    if not adapters:
        raise ValueError("serving needs at least one adapter (None is the base model)")
    names = sorted({name for adapter in adapters if adapter is not None for name in adapter.factors})
    linears = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    if missing := [name for name in names if name not in linears]:
        raise ValueError(f"an adapter names {missing[0]!r}, which is no linear layer of this model")
    handles = []
    try:
        for name in names:
            mine = [None if adapter is None else adapter.factors.get(name) for adapter in adapters]
            scales = [0.0 if adapter is None else adapter.scale for adapter in adapters]
            handles.append(linears[name].register_forward_hook(_Added(mine, scales)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Added:
    """The hook: adds scale * (x A^T) B^T of its group's factors to each group of rows."""

    def __init__(
        self, factors: Sequence[tuple[torch.Tensor, torch.Tensor] | None], scales: Sequence[float]
    ) -> None:
        self._factors, self._scales = factors, scales

    def __call__(
        self, module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor
    ) -> torch.Tensor:
        (x,) = inputs
        count = len(self._factors)
        assert x.shape[0] % count == 0, "the rows of a batch come in equal groups, one for each adapter"
        added = out.clone()
        for at, (pair, scale) in enumerate(zip(self._factors, self._scales, strict=True)):
            if pair is None:
                continue
            size = x.shape[0] // count
            rows = slice(at * size, (at + 1) * size)
            a, b = (factor.to(x) for factor in pair)
            added[rows] += scale * ((x[rows] @ a.T) @ b.T)
        return added
