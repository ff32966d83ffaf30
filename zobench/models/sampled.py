"""A model whose answers are sampled at a temperature instead of decoded greedily.

Each answer has its own seed: its t-th token is the one whose cumulative probability under softmax(logits /
temperature), in float64, first exceeds the t-th number of that seed's stream. Therefore an answer depends on
its prompt and seed, not on the other answers of the batch (up to rounding of the logits), and no global
random state is read or written."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from zobench.models.base import Architecture, LanguageModel, ModelIdentity
from zobench.models.chat import Chat
from zobench.models.generation import generate
from zobench.models.pixels import PixelInput
from zobench.models.probe_record import ProbeRecord
from zobench.models.way import Way


class Draws:
    """Chooses the next token of each row from its own stream.

    Args:
        temperature: divides the logits; above 0.
        seeds: one per row.
    """

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        if not temperature > 0:
            raise ValueError(f"a temperature of {temperature} cannot be sampled at; it must be above 0")
        self._temperature = temperature
        self._streams = [random.Random(seed) for seed in seeds]

    def __call__(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """The next token of these rows, shape (rows,), from logits of shape (rows, vocabulary)."""
        total = (logits.double() / self._temperature).softmax(-1).cumsum(-1)
        draws = [self._streams[row].random() for row in rows]
        at = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None] * total[:, -1:]
        # Scaled by the last sum, which rounding keeps from being exactly 1; clamped for the same reason.
        return torch.searchsorted(total, at, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)


class SampledModel:
    """A view of a model that samples: :meth:`generate` answers one prompt per seed, in order."""

    def __init__(self, lm: LanguageModel, temperature: float, seeds: Sequence[int]) -> None:
        self._lm, self._temperature, self._seeds = lm, temperature, list(seeds)
        self.module: torch.nn.Module = lm.module
        self.tokenizer: Any = lm.tokenizer
        self.identity: ModelIdentity = lm.identity
        self.architecture: Architecture = lm.architecture
        self.max_length: int = lm.max_length
        self.way: Way = lm.way
        self.probed: ProbeRecord | None = lm.probed
        self.chat: Chat | None = lm.chat
        self.pixels: PixelInput | None = lm.pixels
        self.labels: Mapping[str, int] = lm.labels

    @property
    def device(self) -> torch.device:
        return self._lm.device

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """One sampled continuation per prompt; ``ValueError`` unless there are as many prompts as seeds."""
        if len(prompts) != len(self._seeds):
            raise ValueError(f"{len(prompts)} prompts, {len(self._seeds)} seeds: each answer needs its own")
        draws = Draws(self._temperature, self._seeds)
        return generate(self, prompts, max_new_tokens=max_new_tokens, stop=stop, choose=draws)

    def input_embeddings(self) -> torch.Tensor:
        return self._lm.input_embeddings()
