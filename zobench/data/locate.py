"""Location of public data files on this machine: the folder in the environment variable ``ZOBENCH_DATA``."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "ZOBENCH_DATA"


def data_folder() -> Path | None:
    """The folder named by ``ZOBENCH_DATA``, or ``None`` if the variable is not set or names no folder."""
    value = os.environ.get(VARIABLE)
    return Path(value) if value and Path(value).is_dir() else None


def data_file(relative: str, *, task: str) -> Path:
    """The file ``relative`` of the data folder, or ``ValueError`` naming the variable and the
    expected file."""
    value = os.environ.get(VARIABLE)
    if not value:
        raise ValueError(
            f"task {task!r} with source 'local' reads {relative}: "
            f"set {VARIABLE} to the folder that holds it, or use source: hub"
        )
    path = Path(value) / relative
    if not path.is_file():
        raise ValueError(f"task {task!r} with source 'local': {VARIABLE} is {value}, which has no {relative}")
    return path
