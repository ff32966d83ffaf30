"""Shared test set-up: one thread per process, no hub, real data if there is any, the scripts of docs."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def docs_script() -> Callable[[str], ModuleType]:
    """Imports a script of ``docs/`` by its name."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).resolve().parents[1] / "docs" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"{name}_script", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load
