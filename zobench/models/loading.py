"""Load a model: the only entry point, for built-in, packaged, local and hub models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from zobench.data.files import json_file
from zobench.models.adapters import attach, record
from zobench.models.base import Architecture, ModelIdentity
from zobench.models.batching import pad_id
from zobench.models.devices import missing, named
from zobench.models.digest import parameter_count, weights_digest
from zobench.models.families import read_config
from zobench.models.gguf import ORIGIN
from zobench.models.heads import agree_on_padding, labels_of
from zobench.models.inspection import (
    AUTO,
    WITHOUT_TEXT,
    architecture_of,
    attention_of,
    chat_for,
    refuse_class,
    refuse_settings,
    refuse_tokens,
    start_token,
)
from zobench.models.language_model import LoadedModel
from zobench.models.pixels import SYMMETRIC, new_head, pixel_input
from zobench.models.pooled import PooledEncoder
from zobench.models.probe import kept_probe
from zobench.models.progress_bars import hidden_progress_bars
from zobench.models.random_state import preserved_random_state
from zobench.models.resolve import ModelFiles, lies_here, resolve
from zobench.models.scoring import narrow_head
from zobench.spec import ModelRef


def load(ref: ModelRef) -> LoadedModel:
    """Load the model of a suite, in eval mode on its device, without touching the global random state.

    Weights come from safetensors files only. Code from the repository runs only if ``ref.trust_remote_code``
    is set; the identity records whether it did.

    The loaded model is tested on two short sequences (:mod:`zobench.models.probe`), which decide its padding,
    positions and cache.

    Raises:
        ValueError: unknown name, hub failure, pickled weights, weights that do not fit the architecture, no
            device, a model that cannot run as the requested architecture.
    """
    device = _device(ref.device)
    files = resolve(ref)
    try:
        with preserved_random_state(), hidden_progress_bars(), torch.inference_mode(False):
            config = read_config(files.folder, trust_remote_code=ref.trust_remote_code)
            architecture = architecture_of(ref, config, files.folder)
            refuse_class(ref, config, architecture)
            refuse_settings(ref, architecture)
            tokenizer = None if architecture in WITHOUT_TEXT else _tokenizer(ref, files.folder)
            module = _module(ref, files.folder, config, architecture)
            origin = _origin(ref, files, module)
            if files.adapter is not None:
                module = _with_adapter(module, files.adapter, ref.name)
    except (OSError, KeyError, json.JSONDecodeError, SafetensorError) as error:
        raise ValueError(f"model {ref.name!r} cannot be loaded: {error}") from error
    _refuse_not_finite(ref.name, module)
    module = module.to(device).eval()
    identity = _identity(ref, files, module, origin, remote_code=_ran_remote_code(ref, config))
    if architecture in WITHOUT_TEXT:
        pixels = SYMMETRIC if architecture == "flow" else None
        if architecture == "image":
            pixels = pixel_input(files.folder, config, ref.image_size)
        return LoadedModel(module, None, identity, architecture, 0, pixels=pixels)
    return _language_model(
        ref, files.folder, config, LoadedModel(module, tokenizer, identity, architecture, 0)
    )


def _tokenizer(ref: ModelRef, folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(
        folder, trust_remote_code=ref.trust_remote_code, local_files_only=True
    )


def _language_model(ref: ModelRef, folder: Path, config: Any, lm: LoadedModel) -> LoadedModel:
    """``lm`` with its longest input, its chat template and the settings that the probe chooses."""
    module, tokenizer = lm.module, lm.tokenizer
    refuse_tokens(ref.name, tokenizer, rows=_embedding_rows(module))
    chat = chat_for(ref, lm.architecture, tokenizer)
    settings: Any = module.config if lm.architecture in ("classifier", "encoder-decoder") else None
    if lm.architecture == "classifier":
        agree_on_padding(settings, tokenizer)
    if settings is not None and config.is_encoder_decoder:
        settings.decoder_start_token_id = start_token(config, folder, ref.name)
    longest = _max_length(module, config, tokenizer, folder)
    if ref.max_length is not None and ref.max_length > longest:
        raise ValueError(
            f"model {ref.name!r} takes at most {longest} tokens, but max_length is {ref.max_length}"
        )
    probed = kept_probe(
        module,
        lm.architecture,
        ref.name,
        digest=lm.identity.digest,
        fill=pad_id(tokenizer),
        special=tuple(tokenizer.all_special_ids),
    )
    limit = ref.max_length or longest
    labels = labels_of(config, ref.labels, ref.name) if lm.architecture == "classifier" else {}
    return dataclasses.replace(lm, max_length=limit, way=probed.way, probed=probed, chat=chat, labels=labels)


def skeleton(ref: ModelRef) -> torch.nn.Module | None:
    """The model's modules on the ``meta`` device, without weights: names and shapes for planning.

    ``None`` if they are not known without downloading files or running code from a repository: hub ids,
    ``pair:`` models, ``trust_remote_code``.
    """
    if not lies_here(ref.name) or ref.trust_remote_code:
        return None
    folder = resolve(ref).folder
    with preserved_random_state(), torch.device("meta"):
        config = read_config(folder)
        architecture = architecture_of(ref, config, folder)
        module: torch.nn.Module = AUTO[architecture].from_config(config)
    if ref.head is not None and architecture == "image":
        new_head(module, ref.head)
    return _pooled(module, config) if architecture == "encoder" else module


def _device(name: str) -> torch.device:
    if problem := missing(name):
        raise ValueError(f"device {name!r}: {problem}")
    return named(name)


def _module(ref: ModelRef, folder: Path, config: Any, architecture: Architecture) -> torch.nn.Module:
    module, info = AUTO[architecture].from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, ref.dtype),
        attn_implementation=attention_of(ref, config, architecture),
        trust_remote_code=ref.trust_remote_code,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    # Mean pooling does not use the pooler on top of an encoder, whose weights are often missing in the file.
    missing = sorted(k for k in info["missing_keys"] if architecture != "encoder" or "pooler." not in k)
    if missing or info["mismatched_keys"]:
        listed = ", ".join([*missing, *(str(m[0]) for m in info["mismatched_keys"])][:5])
        raise ValueError(
            f"model {ref.name!r} as {architecture}: its files lack weights, or have them in another shape: "
            f"{listed} ..."
        )
    _refuse_dropped_layers(ref.name, info["unexpected_keys"], module)
    if architecture == "encoder":
        return _pooled(module, config)
    if architecture == "masked":
        narrow_head(module)
    if ref.head is not None:
        new_head(module, ref.head)
        module.config.num_labels = ref.head
    return module


def _pooled(module: Any, config: Any) -> PooledEncoder:
    if "pooler" in dict(module.named_children()):
        module.pooler = None
    return PooledEncoder(module, int(config.hidden_size))


def _refuse_dropped_layers(name: str, unexpected: Iterable[str], module: torch.nn.Module) -> None:
    """Refuse weights of layers that the configuration lacks: the library drops them without an error."""
    ours = {_numberless(n) for n, _ in module.named_parameters()}
    named = {k: _numberless(k) for k in sorted(unexpected)}
    more = [k for k, plain in named.items() if "#" in plain and ours & _endings(plain)]
    if more:
        raise ValueError(
            f"model {name!r}: its files contain layers that its config.json does not have: "
            f"{', '.join(more[:3])} ... ({len(more)} weights); without them it would be a different model"
        )


def _endings(name: str) -> set[str]:
    """The name, and the name without its first one or two parts: files store the layers with or without the
    prefix that they have in a larger model."""
    parts = name.split(".")
    return {".".join(parts[n:]) for n in range(3)}


def _numberless(name: str) -> str:
    return ".".join("#" if part.isdigit() else part for part in name.split("."))


def _refuse_not_finite(name: str, module: torch.nn.Module) -> None:
    for parameter, values in module.named_parameters():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise ValueError(f"model {name!r}: weight {parameter!r} contains values that are not finite")


def _embedding_rows(module: Any) -> int:
    body: Any = module.encoder if isinstance(module, PooledEncoder) else module
    return int(body.get_input_embeddings().weight.shape[0])


def _ran_remote_code(ref: ModelRef, config: Any) -> bool:
    return ref.trust_remote_code and type(config).__module__.startswith("transformers_modules")


def _identity(
    ref: ModelRef,
    files: ModelFiles,
    module: torch.nn.Module,
    origin: dict[str, Any] | None,
    *,
    remote_code: bool,
) -> ModelIdentity:
    return ModelIdentity(
        name=ref.name,
        revision=files.revision,
        digest=weights_digest(module),
        dtype=ref.dtype,
        remote_code=remote_code,
        parameters=parameter_count(module),
        origin=origin,
    )


def _origin(ref: ModelRef, files: ModelFiles, module: torch.nn.Module) -> dict[str, Any] | None:
    """Where a converted model, or a base model and its adapter, come from; the base is not adapted yet."""
    recorded = files.folder / ORIGIN
    found = dict(_json_object(recorded)) if recorded.is_file() else None
    if files.adapter is None:
        return found
    base = {"name": files.base, "weights_digest": weights_digest(module), **(found or {})}
    return record(files.adapter, ref.name, base)


def _json_object(path: Path) -> dict[str, Any]:
    body = json_file(path)
    if not isinstance(body, dict):
        raise ValueError(f"{path}: not a JSON object")
    return body


def _with_adapter(module: Any, folder: Path, name: str) -> torch.nn.Module:
    if isinstance(module, PooledEncoder):
        module.encoder = attach(module.encoder, folder, name)
        return module
    adapted: torch.nn.Module = attach(module, folder, name)
    return adapted


def _max_length(module: torch.nn.Module, config: Any, tokenizer: Any, folder: Path) -> int:
    """Longest sequence of the model: the minimum over config, position tables, tokenizer and sentence
    settings."""
    settings = config.to_dict()
    limits = [
        settings[k] for k in ("max_position_embeddings", "n_positions") if isinstance(settings.get(k), int)
    ]
    limits += _table_lengths(module)
    limits.append(min(int(tokenizer.model_max_length), 1 << 20))
    sentence = folder / "sentence_bert_config.json"
    if sentence.is_file():
        longest = _json_object(sentence).get("max_seq_length")
        if longest is not None and not isinstance(longest, int):
            raise ValueError(f"{sentence}: max_seq_length is {longest!r}, not a number of tokens")
        limits.append(longest or limits[0])
    return min(limits)


def _table_lengths(module: torch.nn.Module) -> list[int]:
    """Usable positions of tables in which positions start after the padding index (RoBERTa, MPNet)."""
    found = []
    for name, table in module.named_modules():
        padding = vars(table).get("padding_idx")
        if name.endswith("position_embeddings") and padding is not None:
            found.append(int(table.weight.shape[0]) - int(padding) - 1)
    return found
