"""What can be said of a model from its configuration and tokenizer, without weights and without a forward.

Planning asks here whether a local folder can run at all, and which attention it is loaded with; loading asks
the same. ``ValueError`` and the sentences of :func:`problems` name the model and what to do.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal

import transformers

from zobench.models.resolve import lies_here, resolve
from zobench.spec import ModelRef

Architecture = Literal["causal", "masked", "encoder"]
Attention = Literal["eager", "sdpa"]

AUTO: dict[Architecture, Any] = {
    "causal": transformers.AutoModelForCausalLM,
    "masked": transformers.AutoModelForMaskedLM,
    "encoder": transformers.AutoModel,
}
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, ImportError, json.JSONDecodeError)


def architecture_of(ref: ModelRef, config: Any, folder: Path) -> Architecture:
    """What the model is loaded as: as asked, else by the name of its class."""
    if ref.architecture != "auto":
        return ref.architecture
    named = (config.architectures or [""])[0]
    if (folder / "modules.json").is_file():
        return "encoder"
    if named.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    if named.endswith("ForMaskedLM"):
        return "masked"
    if named.endswith("Model") and not config.is_encoder_decoder:
        return "encoder"
    both = ", an encoder-decoder model, which zobench does not run" if config.is_encoder_decoder else ""
    raise ValueError(
        f"model {ref.name!r}: cannot tell its kind from architecture {named!r}{both}; "
        "set architecture to causal, masked or encoder"
    )


def model_class(config: Any, architecture: Architecture) -> Any | None:
    """The library's class for this configuration, ``None`` where it has none."""
    found = AUTO[architecture]._model_mapping.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def attention_of(ref: ModelRef, config: Any, architecture: Architecture) -> Attention:
    """The attention to load with: ``auto`` is ``sdpa`` where the model's class has it, else ``eager``.

    Raises:
        ValueError: ``sdpa`` was asked for and the class has none.
    """
    made = model_class(config, architecture)
    fused = made is None or bool(made._supports_sdpa)
    if ref.attention == "sdpa" and made is not None and not fused:
        raise ValueError(
            f"model {ref.name!r}: {made.__name__} has no attention 'sdpa'; "
            "leave attention out, or write attention: eager"
        )
    if ref.attention == "auto":
        return "sdpa" if fused else "eager"
    return ref.attention


@functools.lru_cache(maxsize=64)
def with_attention(ref: ModelRef) -> ModelRef:
    """The reference with ``attention: auto`` resolved from the configuration, where that lies on this machine
    (a hub model that was not fetched keeps ``auto``, which loading resolves)."""
    if ref.attention != "auto" or ref.trust_remote_code:
        return ref
    try:
        config = _config_here(ref)
        folder = Path(ref.name).expanduser()
        found = attention_of(ref, config, architecture_of(ref, config, folder))
    except _UNREADABLE:
        return ref  # what is wrong with it is told by the checks, or by loading
    return ref.model_copy(update={"attention": found})


def _config_here(ref: ModelRef) -> Any:
    here = lies_here(ref.name)
    place = resolve(ref).folder if here else ref.name
    pinned = {} if here or ref.revision is None else {"revision": ref.revision}
    return transformers.AutoConfig.from_pretrained(place, local_files_only=True, **pinned)


def tokenizer_of(ref: ModelRef) -> Any | None:
    """The tokenizer of a causal model that lies on this machine; ``None`` for others, and where it cannot be
    read without code from a repository."""
    if not lies_here(ref.name) or ref.trust_remote_code:
        return None
    folder = resolve(ref).folder
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if architecture_of(ref, config, folder) != "causal":
        return None
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def longest_input(ref: ModelRef, tokenizer: Any) -> int:
    """Most tokens that the model takes, as the reference, its configuration and its tokenizer say."""
    settings = _config_here(ref).to_dict()
    said = [settings.get(key) for key in ("max_position_embeddings", "n_positions")]
    limits = [int(tokenizer.model_max_length), *(limit for limit in said if isinstance(limit, int))]
    return ref.max_length or min(limits)


def problems(ref: ModelRef) -> list[str]:
    """Why a local or packaged model cannot run, one sentence each; hub ids, built-in models and folders that
    need code of their own are not looked at. A GGUF file is converted here, once."""
    if ref.trust_remote_code or ref.name.startswith("builtin:") or not lies_here(ref.name):
        return []
    try:
        refuse_adapter(Path(ref.name).expanduser(), ref.name)
        folder = resolve(ref).folder
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        architecture = architecture_of(ref, config, folder)
        refuse_class(ref, config, architecture)
        attention_of(ref, config, architecture)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        refuse_tokens(ref.name, tokenizer, rows=vocabulary(config))
    except _UNREADABLE as error:
        text = str(error).strip().split("\n")[0]
        return [text if text.startswith("model ") else f"model {ref.name!r} cannot be loaded: {text}"]
    return []


def refuse_adapter(folder: Path, name: str) -> None:
    """An adapter alone is not a model; beside a base model the library would apply it without a word."""
    if not (folder / "adapter_config.json").is_file():
        return
    if (folder / "config.json").is_file():
        raise ValueError(
            f"model {name!r}: {folder} holds an adapter (adapter_config.json) beside the model, which "
            "would be applied to it; merge the adapter, or move it away"
        )
    raise ValueError(
        f"model {name!r}: {folder} holds an adapter and no model; merge it into its base model and save that"
    )


def refuse_class(ref: ModelRef, config: Any, architecture: Architecture) -> None:
    """Weights that cannot be moved, and configurations that have no class of this architecture."""
    quantized = config.to_dict().get("quantization_config")
    if quantized:
        method = quantized.get("quant_method", "unknown") if isinstance(quantized, dict) else "unknown"
        raise ValueError(
            f"model {ref.name!r} has quantized weights ({method}), which cannot be tuned; "
            "use the model that was quantized"
        )
    both = config.is_encoder_decoder and architecture == "encoder"
    if both or (not ref.trust_remote_code and model_class(config, architecture) is None):
        kind = "an encoder-decoder model" if config.is_encoder_decoder else f"of kind {config.model_type!r}"
        raise ValueError(f"model {ref.name!r} is {kind}, which cannot be loaded as {architecture}")


def refuse_tokens(name: str, tokenizer: Any, *, rows: int | None) -> None:
    """A tokenizer that writes ids for which the embedding has no row."""
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if rows is not None and largest >= rows:
        raise ValueError(
            f"model {name!r}: its tokenizer writes token ids up to {largest}, its embedding has {rows} rows; "
            "they do not belong together"
        )


def vocabulary(config: Any) -> int | None:
    """Rows of the embedding as the configuration says."""
    size = config.get_text_config().to_dict().get("vocab_size")
    return int(size) if isinstance(size, int) else None
