"""Folders of adapters (``adapter_config.json`` of the package peft): their base, and how they are attached.

The base is, in this order: the ``base`` of the model's entry, the model in the same folder, or the
``base_model_name_or_path`` of the adapter if it is on this machine (a path from the adapter's folder or from
the working directory, a packaged or built-in model, or the hub's cache). Nothing is downloaded that the suite
does not name.

The base is loaded as any other model. The adapter's layers are then put into it under the name
:data:`ADAPTER`, which is part of the names of their weights. Only safetensors files are read, and every
weight of the adapter must be in its file: the library keeps random values for missing ones.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from zobench.names import json_value

ADAPTER = "adapter"
"""Name under which an adapter is attached: ``names: ["*.adapter*"]`` are its weights."""
CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_KINDS = ("ADALORA", "IA3", "LN_TUNING", "LOHA", "LOKR", "LORA", "OFT", "VERA")
"""Kinds that consist of layers inside the base model, which keeps its class and its arguments."""


def is_adapter(folder: Path) -> bool:
    """Whether the folder contains an adapter."""
    return (folder / CONFIG).is_file()


def configuration(folder: Path, name: str) -> dict[str, Any]:
    """The adapter's configuration.

    Raises:
        ValueError: not a valid file, a kind of adapter that cannot be attached, or weights that are missing
            or pickled.
    """
    try:
        found = json_value((folder / CONFIG).read_text(encoding="utf-8"))
        kind = found["peft_type"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"model {name!r}: {CONFIG} is not the configuration of an adapter") from error
    if kind not in _KINDS:
        raise ValueError(
            f"model {name!r}: adapters of kind {kind} cannot be attached, only {', '.join(_KINDS)}; merge it "
            "into its base model and save the result"
        )
    if not (folder / _WEIGHTS).is_file():
        pickles = sorted(p.name for p in folder.glob("adapter_model.*"))
        held = f"only {pickles[0]}, which can run code when read" if pickles else f"no {_WEIGHTS}"
        raise ValueError(f"model {name!r}: its adapter has {held}; zobench loads safetensors only")
    if importlib.util.find_spec("peft") is None:
        raise ValueError(f"model {name!r} is an adapter, which needs peft: pip install 'zobench[peft]'")
    return dict(found)


def base_places(folder: Path, named: str) -> list[str]:
    """Names by which the base that the configuration names may be on this machine, in order."""
    if not named:
        return []
    return [str(folder / named), named] if not named.startswith(("/", "~")) else [named]


@functools.lru_cache(maxsize=8)
def _view(folder: Path) -> tempfile.TemporaryDirectory[str]:
    view = tempfile.TemporaryDirectory(prefix="zobench-base-")
    for path in folder.resolve().iterdir():
        if not path.name.startswith("adapter_"):
            os.symlink(path, Path(view.name) / path.name)
    return view


def without_adapter(folder: Path) -> Path:
    """A folder of links to the files of the model that lies beside an adapter: the library would apply the
    adapter when it reads the folder itself."""
    return Path(_view(folder).name)


def attach(module: Any, folder: Path, name: str) -> Any:
    """Put the adapter's layers into the module, in place.

    Raises:
        ValueError: the adapter does not fit the module.
    """
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        wrapped = PeftModel.from_pretrained(module, str(folder), adapter_name=ADAPTER, config=config)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"model {name!r}: its adapter does not fit the base model: {told}") from error
    with safe_open(folder / _WEIGHTS, framework="pt") as file:
        stored = set(file.keys())
    wanted = set(get_peft_model_state_dict(wrapped, adapter_name=ADAPTER, save_embedding_layers=False))
    # The library saves copies of the base's embeddings beside an adapter on them.
    copies = {k for k in stored if ".base_layer." in k}
    odd = sorted((wanted - stored) | (stored - wanted - copies))
    if odd:
        raise ValueError(
            f"model {name!r}: its adapter and the base model do not belong together: {odd[0]} ... "
            f"({len(odd)} weights are only in the file, or only in the model)"
        )
    return wrapped.get_base_model()


def record(folder: Path, name: str, base: dict[str, Any]) -> dict[str, Any]:
    """Origin of a model with an adapter, for a run's record."""
    from importlib.metadata import version

    kind = json_value((folder / CONFIG).read_text(encoding="utf-8"))["peft_type"]
    digest = hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()
    title = f"{base.get('title', base['name'])} with {kind} adapter {Path(name).name}"
    return {
        "title": title,
        "base": base,
        "adapter": {"file": _WEIGHTS, "sha256": digest, "kind": kind, "peft": version("peft")},
    }
