"""The interface of a loaded model: a torch module, its tokenizer and its identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from zobench.models.chat import Chat
from zobench.models.pixels import PixelInput
from zobench.models.probe_record import ProbeRecord
from zobench.models.way import Way

Architecture = Literal[
    "causal", "masked", "encoder", "encoder-decoder", "classifier", "image", "flow", "ranker"
]
"""What a model is run as: a decoder, a masked model, an encoder with zobench's own head, an encoder-decoder
model, a text model with a trained classification head, a classifier of images, a generator of images, or a
network that ranks others by their statistics."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The model's identity, as stored with every run.

    Attributes:
        name: hub id, local path as given, or ``builtin:nano``.
        revision: resolved commit hash of a hub model, ``None`` for local and built-in ones.
        digest: SHA-256 of the weights as loaded (before any training).
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        remote_code: whether code from the repository was executed.
        parameters: number of weights; tied weights count once.
        origin: source of a converted model (title, file, SHA-256, licence, quantization); ``None`` for other
            models.
    """

    name: str
    revision: str | None
    digest: str
    dtype: str
    remote_code: bool
    parameters: int
    origin: dict[str, Any] | None = None

    @property
    def half_precision(self) -> bool:
        """Whether logits have so few values that options tie."""
        return self.dtype in ("bfloat16", "float16")


class LanguageModel(Protocol):
    """A loaded model: one that can score and generate text, an image classifier, or a generator of images.

    It is always in eval mode and never touches the global random state.

    Attributes:
        tokenizer: ``None`` for a model of images or statistics.
        max_length: longest sequence in tokens; 0 for a model of images or statistics.
        pixels: how the input of a model of images is made from an image; ``None`` for other models.
        way: how the module is run (padding, positions, cache).
        probed: results of the probe that chose ``way``; ``None`` if the model was not probed.
        chat: the template that prompts are put through; ``None``: prompts are plain text.
        labels: label of a classifier's head -> its output; empty for other models.
    """

    module: torch.nn.Module
    tokenizer: Any
    identity: ModelIdentity
    architecture: Architecture
    max_length: int
    way: Way
    probed: ProbeRecord | None
    chat: Chat | None
    pixels: PixelInput | None
    labels: Mapping[str, int]

    @property
    def device(self) -> torch.device: ...

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy continuations without the prompt, cut before the first stop string. Deterministic.
        Prompts of a model with ``chat`` are texts of its template."""
        ...

    def input_embeddings(self) -> torch.Tensor:
        """The input embedding matrix, shape (vocabulary, width)."""
        ...
