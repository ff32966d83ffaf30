"""The loaded model, an implementation of :class:`zobench.models.base.LanguageModel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zobench.models.base import Architecture, ModelIdentity
from zobench.models.chat import Chat
from zobench.models.generation import generate
from zobench.models.pixels import PixelInput
from zobench.models.probe_record import ProbeRecord
from zobench.models.way import Way, usual


@dataclass(slots=True)
class LoadedModel:
    """A module in eval mode with its tokenizer (or, for an image classifier, the form of its input); it
    scores through ``module`` and generates greedily.

    ``way`` holds the settings for running the module (:func:`~zobench.models.way.usual` if it was not
    probed), ``probed`` the results of the probe.
    """

    module: torch.nn.Module
    tokenizer: Any
    identity: ModelIdentity
    architecture: Architecture
    max_length: int
    way: Way = None  # type: ignore[assignment]
    probed: ProbeRecord | None = None
    chat: Chat | None = None
    pixels: PixelInput | None = None
    labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.way is None:
            self.way = usual(self.module)

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy continuations in the order of ``prompts``; see ``models.generation``."""
        return generate(self, prompts, max_new_tokens=max_new_tokens, stop=stop)

    def input_embeddings(self) -> torch.Tensor:
        """The input embedding matrix, shape (vocabulary, width); the parameter itself, not a copy."""
        body: Any = self.module.encoder if self.architecture == "encoder" else self.module
        weight: torch.Tensor = body.get_input_embeddings().weight
        return weight
