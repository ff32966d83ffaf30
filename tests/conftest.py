"""Shared test set-up: one thread per process, no hub, real data and WordNet if they are installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _without_wordnet() -> str:
    """Why tests marked ``wordnet`` cannot run; empty if WordNet is installed."""
    from zobench.attacks.wordnet import open_wordnet

    try:
        open_wordnet()
    except ValueError as error:
        return str(error)
    return ""


def _without_package(item: pytest.Item) -> str:
    """Why a test whose parameter ``name`` is a method cannot run: its package is not installed."""
    from zobench.plugins import missing_package

    if not isinstance(item, pytest.Function):
        return ""
    called = item.get_closest_marker("parametrize")
    name = item.callspec.params.get("name") if called else None
    return missing_package(name) if isinstance(name, str) else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``wordnet`` on machines without WordNet, and tests of methods whose package is not
    installed."""
    for item in items:
        if reason := _without_package(item):
            item.add_marker(pytest.mark.skip(reason=reason))
    marked = [item for item in items if item.get_closest_marker("wordnet")]
    reason = _without_wordnet() if marked else ""
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder named by ZOBENCH_DATA; the test is skipped where it is not set or not there."""
    folder = os.environ.get("ZOBENCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ZOBENCH_DATA does not name a folder: real public data is not on this machine")
    return Path(folder)
