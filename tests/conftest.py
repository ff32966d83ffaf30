"""Shared test set-up: one thread per process, no hub, real data if there is any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder named by ZOBENCH_DATA; the test is skipped where it is not set or not there."""
    folder = os.environ.get("ZOBENCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ZOBENCH_DATA does not name a folder: real public data is not on this machine")
    return Path(folder)
