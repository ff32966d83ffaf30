"""Prompt tuning: learned input embeddings before the first token (arXiv 2104.08691).

The soft prompt is a parameter ``soft_prompt`` (tokens x width) of the model. A forward pre-hook embeds the
token ids, puts the prompt before them and widens the attention mask. A forward hook removes the prompt's
positions from the logits, so that logits and input tokens correspond. The prompt is initialized with the
embeddings of random real tokens (as in arXiv 2402.11592: 10 virtual tokens). The space works for Hugging Face
models that accept ``inputs_embeds``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo.parameters import Count, Parameters
from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.prefix import given, random_tokens, widen


@dataclass(frozen=True)
class Prompt(Parameters):
    """Soft prompt at the input embeddings.

    Attributes:
        tokens: number of virtual tokens.
        seed: seed of the random real tokens for the initial prompt.
    """

    tokens: Count = 10
    seed: int = 0

    def build(self, module: Any) -> ParameterSpace:
        if "soft_prompt" in module._parameters:
            raise ValueError("space 'prompt': the module has a soft prompt already")
        embeddings = module.get_input_embeddings().weight
        ids = random_tokens(self.tokens, embeddings.shape[0], self.seed, embeddings.device)
        start = embeddings.detach()[ids[0]].clone()
        module.register_parameter("soft_prompt", nn.Parameter(start, requires_grad=False))
        lengths: list[int] = []

        def enter(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            call, length = self._call(model, given(args, kwargs, "prompt"))
            lengths.append(length)
            return (), call

        def leave(model: Any, args: tuple[Any, ...], output: Any) -> Any:
            return self._trim(output, lengths.pop())

        handles = [
            module.register_forward_pre_hook(enter, with_kwargs=True),
            module.register_forward_hook(leave),
        ]

        def remove() -> None:
            for handle in handles:
                handle.remove()
            del module._parameters["soft_prompt"]

        return ParameterSpace(module, ["soft_prompt"], kind="prompt", remove=remove)

    def _call(self, model: Any, call: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The widened call, and its length including the prompt (0 if a cache contains the prompt
        already)."""
        embeds = call.get("inputs_embeds")
        if embeds is None:
            embeds = model.get_input_embeddings()(call.pop("input_ids"))
        call.pop("input_ids", None)
        rows, length = embeds.shape[:2]
        cache = call.get("past_key_values")
        widen(call, self.tokens, rows, length, embeds.device)
        if cache is not None and cache.get_seq_length() > 0:
            call["inputs_embeds"] = embeds
            if call.get("position_ids") is not None:
                call["position_ids"] = call["position_ids"] + self.tokens
            return call, 0
        prompt = model._parameters["soft_prompt"].to(embeds.dtype).expand(rows, -1, -1)
        call["inputs_embeds"] = torch.cat([prompt, embeds], dim=1)
        positions = call.get("position_ids")
        if positions is not None:
            first = torch.arange(self.tokens, device=positions.device).expand(positions.shape[0], -1)
            call["position_ids"] = torch.cat([first, positions + self.tokens], dim=1)
        if call.get("labels") is not None:
            labels = call["labels"]
            # The loss ignores positions with label -100.
            call["labels"] = torch.cat([labels.new_full((rows, self.tokens), -100), labels], dim=1)
        return call, length + self.tokens

    def _trim(self, output: Any, length: int) -> Any:
        if length and output.logits.dim() == 3 and output.logits.shape[1] == length:
            output["logits"] = output.logits[:, self.tokens :]
        return output
