"""Conversion of a GGUF file to a folder with config, safetensors weights and tokenizer.

Quantized tensors are dequantized (to float32, then rounded to the requested dtype): the folder contains the
values that the quantized file represents, not those of the model before quantization. Differences from
loading the file with transformers alone (5.24): the tokenizer splits text by the rule that the file names
(:mod:`zobench.models.pretokenizers`), its longest input is the model's context length, and the result can be
saved, because the state is moved into a model that is not marked as quantized.

Reading the tokenizer of a file with 49,152 tokens takes about 18 s of processor time and 1.25 GB; the
converted folder loads like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import shutil
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from zobench.models.gguf_header import GGUFHeader, read_header
from zobench.models.pretokenizers import apply, split_rule

ORIGIN = "zobench-origin.json"
"""File in the folder that records its origin, as one JSON object."""
Dtype = Literal["float32", "bfloat16", "float16"]
NEEDED = ("gguf", "accelerate")
TOKENIZERS = ("gpt2", "llama")
"""``tokenizer.ggml.model`` that can be converted: byte-level BPE, and SentencePiece. Gemma 3's SentencePiece
tokenizer was compared with llama.cpp on 16 texts: all ids agree."""


def convert(
    file: Path, folder: Path, *, dtype: Dtype = "float32", title: str = "", licence: str = ""
) -> dict[str, Any]:
    """Write the model of a GGUF file into a new folder, and return the record of its origin.

    The folder is written under another name and then renamed, so an incomplete folder never appears.

    Args:
        file: the GGUF file; it is opened for reading only.
        folder: must not exist, or be empty.
        dtype: of the saved weights. Values of 4-bit files fit float32 exactly.
        title: the name shown in reports; default: the model name in the file and its most frequent
            quantization.
        licence: default: the licence stated in the file.

    Raises:
        ValueError: the file is damaged, incomplete or of an unknown kind; a package is missing; there is not
            enough disk space; the folder exists.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists already; choose another folder")
    header = check(file)
    origin = _origin(file, header, dtype, title, licence)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _refuse_little_space(header, folder.parent, dtype)
    made = folder.parent / f".{folder.name}-{os.getpid()}"
    made.mkdir()
    try:
        with _refusals(file):
            _write(file, made, header, dtype)
            (made / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return origin


def check(file: Path) -> GGUFHeader:
    """The header, if the file can be converted; else ``ValueError`` with the reason. No tensor is read."""
    header = read_header(file)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{file}: GGUF files need {' and '.join(missing)}: pip install 'zobench[gguf]'")
    _refuse_kind(file, header)
    _refuse_cut(file, header)
    return header


def quantization(header: GGUFHeader) -> dict[str, int]:
    """Number of tensors of each quantization type, most values first."""
    from gguf import GGMLQuantizationType

    values, tensors = Counter[str](), Counter[str]()
    for entry in header.tensors:
        name = GGMLQuantizationType(entry.kind).name
        values[name] += math.prod(entry.shape)
        tensors[name] += 1
    return {name: tensors[name] for name, _ in values.most_common()}


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _refuse_kind(file: Path, header: GGUFHeader) -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    architecture = header.keys.get("general.architecture")
    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        raise ValueError(f"{file}: transformers cannot read GGUF files of architecture {architecture!r}")
    kind = header.keys.get("tokenizer.ggml.model")
    if kind not in TOKENIZERS:
        raise ValueError(
            f"{file}: its tokenizer is of kind {kind!r}; {' and '.join(TOKENIZERS)} can be converted"
        )
    if kind == "gpt2":
        try:
            split_rule(str(header.keys.get("tokenizer.ggml.pre", "default")))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error


def _refuse_cut(file: Path, header: GGUFHeader) -> None:
    """Check that every tensor lies within the file and has a known quantization type."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    known = {kind.value for kind in GGMLQuantizationType}
    if not header.tensors:
        raise ValueError(f"{file}: contains no tensors")
    for entry in header.tensors:
        if entry.kind not in known:
            raise ValueError(f"{file}: tensor {entry.name!r} has the unknown quantization type {entry.kind}")
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(entry.kind)]
        end = header.data_start + entry.offset + math.prod(entry.shape) // block * size
        if end > header.size:
            raise ValueError(
                f"{file}: cut off or damaged: tensor {entry.name!r} ends at byte {end}, but the file has "
                f"{header.size} bytes"
            )


def _refuse_little_space(header: GGUFHeader, place: Path, dtype: Dtype) -> None:
    values = sum(math.prod(entry.shape) for entry in header.tensors)
    needed = values * (4 if dtype == "float32" else 2) + (64 << 20)  # tokenizer files are smaller
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(
            f"{place}: the converted model needs {needed >> 20} MiB, but only {free >> 20} MiB are free; "
            "free some space, or choose another folder (ZOBENCH_CACHE sets the cache folder)"
        )


def _origin(file: Path, header: GGUFHeader, dtype: Dtype, title: str, licence: str) -> dict[str, Any]:
    kinds = quantization(header)
    named = str(header.keys.get("general.name") or file.stem)
    return {
        "title": title or f"{named} ({next(iter(kinds))}, dequantized)",
        "file": file.name,
        "sha256": sha256_of(file),
        "licence": licence or str(header.keys.get("general.license") or "not stated in the file"),
        "quantization": kinds,
        "dtype": dtype,
        "tokenizer_rule": str(header.keys.get("tokenizer.ggml.pre", "default")),
        "converted_with": {name: version(name) for name in ("transformers", "gguf", "torch", "tokenizers")},
    }


@contextmanager
def _refusals(file: Path) -> Iterator[None]:
    """Turn the libraries' errors on unreadable files into one ``ValueError``."""
    try:
        yield
    except (
        OSError,
        KeyError,
        IndexError,
        TypeError,
        RuntimeError,
        NotImplementedError,
        struct.error,
    ) as error:
        text = str(error).strip().split("\n")[0]
        raise ValueError(f"{file} cannot be converted: {type(error).__name__}: {text}") from error


def _write(file: Path, folder: Path, header: GGUFHeader, dtype: Dtype) -> None:
    import torch
    import transformers

    from zobench.models.progress_bars import hidden_progress_bars
    from zobench.models.random_state import preserved_random_state

    with hidden_progress_bars(), preserved_random_state(), torch.inference_mode(False):
        # transformers takes a folder and the name of a file in it.
        place = file.absolute().parent
        both: Any = transformers.AutoModelForCausalLM.from_pretrained(
            place, gguf_file=file.name, dtype=getattr(torch, dtype), output_loading_info=True
        )
        loaded, info = both
        if info["missing_keys"] or info["mismatched_keys"]:
            lacking = sorted([*info["missing_keys"], *(str(m[0]) for m in info["mismatched_keys"])])
            raise ValueError(f"{file}: lacks weights of its own architecture: {', '.join(lacking[:5])} ...")
        plain = _unmarked(loaded, dtype)
        plain.save_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, gguf_file=file.name)
        if header.keys["tokenizer.ggml.model"] == "gpt2":
            apply(split_rule(str(header.keys.get("tokenizer.ggml.pre", "default"))), tokenizer)
        longest = int(loaded.config.max_position_embeddings)
        _own_tokens(tokenizer, rows=loaded.config.vocab_size, longest=longest).save_pretrained(folder)


def _unmarked(loaded: Any, dtype: Dtype) -> Any:
    """The same weights in a model that transformers can save; it rejects a model loaded from GGUF as
    quantized."""
    import torch

    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings.pop("_name_or_path", None)
    config = type(loaded.config).from_dict(settings)
    with torch.device("meta"):  # neither allocates nor initializes weights
        plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict(), strict=True, assign=True)
    plain.tie_weights()
    return plain.to(getattr(torch, dtype))


def _own_tokens(read: Any, *, rows: int, longest: int) -> Any:
    """The tokenizer without tokens that the file does not contain.

    If the file defines no unknown token, transformers adds one whose id exceeds the last embedding row."""
    import tokenizers
    import transformers

    core = json.loads(read.backend_tokenizer.to_str())
    core["added_tokens"] = [token for token in core["added_tokens"] if token["id"] < rows]
    if core["model"]["type"] == "BPE" and core["model"]["unk_token"] not in core["model"]["vocab"]:
        core["model"]["unk_token"] = None
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    special = {n: t for n in names if (t := getattr(read, n)) and read.convert_tokens_to_ids(t) < rows}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(core)),
        model_max_length=longest,
        chat_template=read.chat_template,
        **special,
    )
