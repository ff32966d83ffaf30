"""Prefix tuning of causal models: learned keys and values before the first token of every layer (arXiv
2101.00190).

The prefixes are parameters ``prefix_key_<layer>`` and ``prefix_value_<layer>`` (key-value heads x tokens x
head width) of the model. A forward pre-hook puts them into the key-value cache, widens the attention mask and
shifts positions. As in MeZO's prefix runs (arXiv 2305.17333), they are initialized with the activations of
random real tokens, without re-parametrization. The space needs a Hugging Face causal model with a dynamic
cache. transformers is imported on use only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zobench.zo import noise
from zobench.zo.parameters import Count, Parameters
from zobench.zo.space.base import ParameterSpace


def random_tokens(count: int, vocabulary: int, seed: int, device: torch.device) -> torch.Tensor:
    """Token ids of shape (1, count), a function of the seed only."""
    ids = [noise.derive_seed("start token", seed, i) % vocabulary for i in range(count)]
    return torch.tensor([ids], device=device)


def given(args: tuple[Any, ...], kwargs: dict[str, Any], kind: str) -> dict[str, Any]:
    """The arguments of a call by keyword; a positional one is ``input_ids``. ``ValueError`` for further
    positional arguments."""
    if len(args) > 1:
        raise ValueError(f"space {kind!r}: call the model with keyword arguments")
    return {**({"input_ids": args[0]} if args else {}), **kwargs}


def widen(call: dict[str, Any], count: int, rows: int, length: int, device: torch.device) -> None:
    """Extend the attention mask by ``count`` ones on the left. A missing mask is created with ones.

    Args:
        call: the keyword arguments of the call; changed in place.
        count: number of added positions.
        rows: batch size.
        length: number of tokens in this call.
        device: device of a created mask.
    """
    mask = call.get("attention_mask")
    if mask is None:
        past = call.get("past_key_values")
        seen = past.get_seq_length() - count if past is not None and past.get_seq_length() > 0 else 0
        mask = torch.ones(rows, length + seen, dtype=torch.long, device=device)
    call["attention_mask"] = torch.cat([mask.new_ones(rows, count), mask], dim=1)


def _for_rows(prefix: torch.Tensor, rows: int) -> torch.Tensor:
    """The prefix for each row; several prefixes (mode ``grouped``) each for their share of the rows."""
    if prefix.dim() == 4:
        return prefix.repeat_interleave(rows // len(prefix), dim=0)
    return prefix.expand(rows, *prefix.shape)


@dataclass(frozen=True)
class Prefix(Parameters):
    """Key-value prefixes of every layer.

    Attributes:
        tokens: prefix length.
        seed: seed of the random real tokens for the initial prefix.
    """

    tokens: Count = 5
    seed: int = 0

    def build(self, module: nn.Module) -> ParameterSpace:
        if "prefix_key_0" in module._parameters:
            raise ValueError("space 'prefix': the module has a prefix already")
        starts = self._start(module)
        names: list[str] = []
        for layer, (key, value) in enumerate(starts):
            for name, tensor in ((f"prefix_key_{layer}", key), (f"prefix_value_{layer}", value)):
                module.register_parameter(name, nn.Parameter(tensor[0].clone(), requires_grad=False))
                names.append(name)
        layers = len(starts)

        def enter(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return (), self._call(model, given(args, kwargs, "prefix"), layers)

        handle = module.register_forward_pre_hook(enter, with_kwargs=True)

        def remove() -> None:
            handle.remove()
            for name in names:
                del module._parameters[name]

        return ParameterSpace(module, names, kind="prefix", remove=remove)

    def _start(self, module: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of random real tokens, per layer, of shape (1, heads, tokens, width)."""
        embeddings = module.get_input_embeddings().weight
        ids = random_tokens(self.tokens, embeddings.shape[0], self.seed, embeddings.device)
        with torch.no_grad():
            cache = module(input_ids=ids, use_cache=True).past_key_values
        if cache is None:
            raise ValueError("space 'prefix': the model returns no key-value cache")
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _call(self, model: Any, call: dict[str, Any], layers: int) -> dict[str, Any]:
        inputs = call.get("input_ids")
        inputs = call["inputs_embeds"] if inputs is None else inputs
        rows, length = inputs.shape[:2]
        cache = call.get("past_key_values")
        # In later calls of a generation the cache contains the prefix already.
        if cache is None or cache.get_seq_length() == 0:
            call["past_key_values"] = self._filled(model, cache, rows, layers)
        widen(call, self.tokens, rows, length, inputs.device)
        if call.get("position_ids") is not None:
            call["position_ids"] = call["position_ids"] + self.tokens
        return call

    def _filled(self, model: Any, cache: Any, rows: int, layers: int) -> Any:
        if cache is None:
            from transformers import DynamicCache

            cache = DynamicCache(config=model.config)
        for layer in range(layers):
            key = model._parameters[f"prefix_key_{layer}"]
            value = model._parameters[f"prefix_value_{layer}"]
            cache.update(_for_rows(key, rows), _for_rows(value, rows), layer)
        return cache
