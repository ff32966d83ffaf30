"""Where a checkout keeps its pages and the small result files that they are computed from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import zobench

BEFORE_REVISION_2 = """\
*Made before revision 2* (2026-11-29): since then updates with momentum, moments or gradients round products
before they are added (CHANGELOG.md lists the methods), and generated answers are read by `robust/2`. The runs
below were not made again.
"""
"""Line of every page whose runs are older."""


def docs() -> Path:
    """The ``docs`` folder beside the package; ``ValueError`` where the package is not in a checkout."""
    folder = Path(zobench.__file__).resolve().parents[1] / "docs"
    if not (folder / "results").is_dir():
        raise ValueError(
            f"{folder} is not the docs folder of a checkout: studies read the files in docs/results, "
            "which no wheel has; run them with a zobench installed from a checkout (pip install -e .)"
        )
    return folder


def results() -> Path:
    return docs() / "results"


def read(name: str) -> pd.DataFrame:
    """The table ``docs/results/NAME.parquet``."""
    return pd.read_parquet(results() / f"{name}.parquet")


def keep(table: pd.DataFrame, path: Path) -> None:
    """Write a table as compressed Parquet: the same table gives the same bytes."""
    table.to_parquet(path, index=False, compression="zstd")


def page(name: str) -> str:
    """The text of ``docs/NAME.md``."""
    return (docs() / f"{name}.md").read_text(encoding="utf-8")


def write_page(name: str, text: str) -> None:
    """Write ``docs/NAME.md``."""
    (docs() / f"{name}.md").write_text(text, encoding="utf-8")
