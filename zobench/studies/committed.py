"""The pages in a checkout and the small result files from which they are computed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import zobench

BEFORE_REVISION_2 = """\
*Made before revision 2* (2026-11-29): since then updates with momentum, moments or gradients round products
before they are added (CHANGELOG.md lists the methods), and generated answers are extracted by `robust/2`. The
runs below were not repeated.
"""
"""Note on every page whose runs are older."""


def docs() -> Path:
    """The ``docs`` folder beside the package; ``ValueError`` if the package is not in a checkout."""
    folder = Path(zobench.__file__).resolve().parents[1] / "docs"
    if not (folder / "results").is_dir():
        raise ValueError(
            f"{folder} is not the docs folder of a checkout: studies read the files in docs/results, "
            "which wheels do not contain; install zobench from a checkout (pip install -e .)"
        )
    return folder


def results() -> Path:
    return docs() / "results"


def read(name: str) -> pd.DataFrame:
    """The table ``docs/results/NAME.parquet``."""
    return pd.read_parquet(results() / f"{name}.parquet")


def keep(table: pd.DataFrame, path: Path) -> None:
    """Write a table as compressed Parquet; equal tables give equal bytes."""
    table.to_parquet(path, index=False, compression="zstd")


def page(name: str) -> str:
    """The text of ``docs/NAME.md``."""
    return (docs() / f"{name}.md").read_text(encoding="utf-8")


def write_page(name: str, text: str) -> None:
    """Write ``docs/NAME.md``."""
    (docs() / f"{name}.md").write_text(text, encoding="utf-8")
