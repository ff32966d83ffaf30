"""Checks of a model from its configuration and tokenizer, without weights and without a forward pass.

Planning and loading use the same checks: whether a local folder can run, and which attention implementation
it is loaded with. ``ValueError`` and the sentences of :func:`problems` name the model and what to do.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal

import transformers

from zobench.models.base import Architecture
from zobench.models.chat import Chat
from zobench.models.families import read_config
from zobench.models.heads import labels_of, refuse_head
from zobench.models.pixels import TIMM, pixel_input
from zobench.models.resolve import lies_here, resolve
from zobench.names import json_value
from zobench.spec import ModelRef

Attention = Literal["eager", "sdpa"]

AUTO: dict[Architecture, Any] = {
    "causal": transformers.AutoModelForCausalLM,
    "masked": transformers.AutoModelForMaskedLM,
    "encoder": transformers.AutoModel,
    "image": transformers.AutoModelForImageClassification,
    "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    "classifier": transformers.AutoModelForSequenceClassification,
    "flow": transformers.AutoModel,
    "ranker": transformers.AutoModel,
}
WITHOUT_TEXT: tuple[Architecture, ...] = ("image", "flow", "ranker")
"""Architectures without a tokenizer."""
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, ImportError, json.JSONDecodeError)


def architecture_of(ref: ModelRef, config: Any, folder: Path) -> Architecture:
    """The architecture to load the model as: as requested, else by the name of its class.

    Raises:
        ValueError: it cannot be determined.
    """
    if ref.architecture != "auto":
        return ref.architecture
    named = (config.architectures or [""])[0]
    if (folder / "modules.json").is_file():
        return "encoder"
    if named.endswith(("ForCausalLM", "LMHeadModel")) and not config.is_encoder_decoder:
        return "causal"
    if named.endswith("ForMaskedLM"):
        return "masked"
    if named.endswith("ForImageClassification") or config.model_type == TIMM:
        return "image"
    if named.endswith("ForImageGeneration"):
        return "flow"
    if named.endswith("ForRanking"):
        return "ranker"
    if named.endswith("ForSequenceClassification"):
        return "classifier"
    generates = named.endswith(("ForConditionalGeneration", "LMHeadModel", "MTModel"))
    if config.is_encoder_decoder and generates and model_class(config, "encoder-decoder") is not None:
        return "encoder-decoder"
    if named.endswith("Model") and not config.is_encoder_decoder:
        return "encoder"
    raise ValueError(
        f"model {ref.name!r}: cannot determine its kind from architecture {named!r}; "
        f"set architecture to one of {', '.join(AUTO)}"
    )


def model_class(config: Any, architecture: Architecture) -> Any | None:
    """The library's class for this configuration; ``None`` if it has none."""
    found = AUTO[architecture]._model_mapping.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def attention_of(ref: ModelRef, config: Any, architecture: Architecture) -> Attention:
    """The attention implementation: ``auto`` is ``sdpa`` if the model's class supports it, else ``eager``.

    Raises:
        ValueError: ``sdpa`` was requested but the class does not support it.
    """
    made = model_class(config, architecture)
    fused = made is None or bool(made._supports_sdpa)
    if ref.attention == "sdpa" and made is not None and not fused:
        raise ValueError(
            f"model {ref.name!r}: {made.__name__} does not support attention 'sdpa'; "
            "leave attention out, or write attention: eager"
        )
    if ref.attention == "auto":
        return "sdpa" if fused else "eager"
    return ref.attention


@functools.lru_cache(maxsize=64)
def with_attention(ref: ModelRef) -> ModelRef:
    """The reference with ``attention: auto`` resolved, if the configuration is on this machine.

    A hub model that was not downloaded keeps ``auto``, which loading resolves."""
    if ref.attention != "auto" or ref.trust_remote_code:
        return ref
    try:
        config = _config_here(ref)
        folder = Path(ref.name).expanduser()
        found = attention_of(ref, config, architecture_of(ref, config, folder))
    except _UNREADABLE:
        return ref  # the checks, or loading, report the error
    return ref.model_copy(update={"attention": found})


def _config_here(ref: ModelRef) -> Any:
    here = lies_here(ref.name)
    place = resolve(ref).folder if here else ref.name
    pinned = {} if here or ref.revision is None else {"revision": ref.revision}
    return read_config(place, **pinned)


@functools.lru_cache(maxsize=64)
def classifier_here(ref: ModelRef) -> tuple[Architecture, int] | None:
    """Architecture of a model on this machine, and its number of outputs if it classifies images (else 0);
    ``None`` if the configuration is not here or cannot be read without code from a repository."""
    if not lies_here(ref.name) or ref.trust_remote_code:
        return None
    try:
        config = _config_here(ref)
        architecture = architecture_of(ref, config, resolve(ref).folder)
    except _UNREADABLE:
        return None  # the checks of the model report the error
    return architecture, (ref.head or int(config.num_labels)) if architecture == "image" else 0


def model_type_here(ref: ModelRef) -> str | None:
    """The ``model_type`` of the configuration; ``None`` if that is not on this machine or cannot be read."""
    if not lies_here(ref.name):
        return None
    try:
        return str(_config_here(ref).model_type)
    except _UNREADABLE:
        return None


def architecture_here(ref: ModelRef) -> Architecture | None:
    """What the model is run as; ``None`` if its configuration is not on this machine, cannot be read without
    code from a repository, or is rejected by :func:`problems`."""
    if not lies_here(ref.name) or ref.trust_remote_code:
        return None
    try:
        folder = resolve(ref).folder
        config = read_config(folder)
        return architecture_of(ref, config, folder)
    except _UNREADABLE:
        return None


def labels_here(ref: ModelRef) -> dict[str, int]:
    """Label of a classifier's head -> its output; for a model on this machine."""
    return labels_of(_config_here(ref), ref.labels, ref.name)


def tokenizer_of(ref: ModelRef, *, of: Architecture = "causal") -> Any | None:
    """The tokenizer of a model of this architecture on this machine; ``None`` for other models, and if it
    cannot be read without code from a repository."""
    if architecture_here(ref) != of:
        return None
    folder = resolve(ref).folder
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def chat_for(ref: ModelRef, architecture: Architecture, tokenizer: Any) -> Chat | None:
    """The chat template that the reference asks for; ``ValueError`` if it cannot be used."""
    if not ref.chat:
        if ref.system is not None:
            raise ValueError(f"model {ref.name!r}: system is the system message of a chat: write chat: true")
        return None
    if architecture != "causal":
        raise ValueError(f"model {ref.name!r}: chat: true needs a causal model, this one is {architecture}")
    return Chat(tokenizer, ref.system, ref.name)


def chat_of(ref: ModelRef) -> Chat | None:
    """The chat template that the reference asks for, if its tokenizer is on this machine."""
    tokenizer = tokenizer_of(ref) if ref.chat else None
    return None if tokenizer is None else Chat(tokenizer, ref.system, ref.name)


def longest_input(ref: ModelRef, tokenizer: Any) -> int:
    """Most tokens that the model takes, as the reference, its configuration and its tokenizer say."""
    settings = _config_here(ref).to_dict()
    said = [settings.get(key) for key in ("max_position_embeddings", "n_positions")]
    limits = [int(tokenizer.model_max_length), *(limit for limit in said if isinstance(limit, int))]
    return ref.max_length or min(limits)


def problems(ref: ModelRef) -> list[str]:
    """Reasons why a local or packaged model cannot run, one sentence each.

    Hub ids and folders that need remote code are not checked, and of built-in models only the settings,
    unless they are asked for a chat. A GGUF file is converted here, once."""
    if ref.trust_remote_code or not lies_here(ref.name):
        return []
    if ref.name.startswith("builtin:") and not ref.chat and ref.system is None:
        return _problems_of_settings(ref)
    try:
        folder = resolve(ref).folder
        config = read_config(folder)
        architecture = architecture_of(ref, config, folder)
        refuse_class(ref, config, architecture)
        attention_of(ref, config, architecture)
        refuse_settings(ref, architecture)
        if architecture == "image":
            pixel_input(folder, config, ref.image_size)
        if architecture in WITHOUT_TEXT:
            return []
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        refuse_tokens(ref.name, tokenizer, rows=vocabulary(config))
        chat_for(ref, architecture, tokenizer)
        if architecture == "classifier":
            labels_of(config, ref.labels, ref.name)
        if architecture in ("encoder-decoder", "classifier") and config.is_encoder_decoder:
            start_token(config, folder, ref.name)
    except _UNREADABLE as error:
        text = str(error).strip().split("\n")[0]
        return [text if text.startswith("model ") else f"model {ref.name!r} cannot be loaded: {text}"]
    return []


def _problems_of_settings(ref: ModelRef) -> list[str]:
    known = classifier_here(ref)
    try:
        if known is not None:
            refuse_settings(ref, known[0])
    except ValueError as error:
        return [str(error)]
    return []


def refuse_class(ref: ModelRef, config: Any, architecture: Architecture) -> None:
    """Refuse quantized weights, which cannot be trained, and configurations without a class of this
    architecture."""
    quantized = config.to_dict().get("quantization_config")
    if quantized:
        method = quantized.get("quant_method", "unknown") if isinstance(quantized, dict) else "unknown"
        raise ValueError(
            f"model {ref.name!r} has quantized weights ({method}), which cannot be trained; "
            "use the model before quantization"
        )
    if architecture == "classifier":
        refuse_head(config, ref.name)
    elif ref.labels:
        raise ValueError(
            f"model {ref.name!r}: labels are those of a classification head; it is {architecture}"
        )
    both = config.is_encoder_decoder and architecture not in ("encoder-decoder", "classifier")
    alone = architecture == "encoder-decoder" and not config.is_encoder_decoder
    if both or alone or (not ref.trust_remote_code and model_class(config, architecture) is None):
        kind = "an encoder-decoder model" if config.is_encoder_decoder else f"of kind {config.model_type!r}"
        raise ValueError(f"model {ref.name!r} is {kind}, which cannot be loaded as {architecture}")


def refuse_settings(ref: ModelRef, architecture: Architecture) -> None:
    """Refuse settings that this architecture does not have."""
    if architecture in WITHOUT_TEXT and ref.max_length is not None:
        read = "statistics" if architecture == "ranker" else "images"
        raise ValueError(f"model {ref.name!r} takes {read}, so max_length has no meaning; leave it out")
    if architecture in WITHOUT_TEXT:
        chat_for(ref, architecture, None)
    for key, value in (("head", ref.head), ("image_size", ref.image_size)):
        if architecture != "image" and value is not None:
            raise ValueError(
                f"model {ref.name!r} is {architecture}; {key} is for image classifiers; leave it out"
            )


def start_token(config: Any, folder: Path, name: str) -> int:
    """The first token of the decoder, from the configuration or the generation settings; ``ValueError`` if
    neither has it."""
    found = config.to_dict().get("decoder_start_token_id")
    settings = folder / "generation_config.json"
    if found is None and settings.is_file():
        found = json_value(settings.read_text(encoding="utf-8")).get("decoder_start_token_id")
    if not isinstance(found, int):
        raise ValueError(
            f"model {name!r}: neither config.json nor generation_config.json has decoder_start_token_id, the "
            "token that its decoder begins with"
        )
    return found


def refuse_tokens(name: str, tokenizer: Any, *, rows: int | None) -> None:
    """Refuse a tokenizer that produces ids beyond the rows of the embedding."""
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if rows is not None and largest >= rows:
        raise ValueError(
            f"model {name!r}: its tokenizer produces token ids up to {largest}, but its embedding has {rows} "
            "rows; they do not belong together"
        )


def vocabulary(config: Any) -> int | None:
    """Number of embedding rows according to the configuration."""
    size = config.get_text_config().to_dict().get("vocab_size")
    return int(size) if isinstance(size, int) else None
