from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """``tiny(family)``: a loaded tiny random model, built on first use."""
    from tiny_models import save_tiny

    from zobench.models import load
    from zobench.spec import ModelRef

    built: dict[str, Any] = {}

    def loaded(family: str) -> Any:
        if family not in built:
            folder = save_tiny(family, tmp_path_factory.mktemp(family))
            built[family] = load(ModelRef(name=str(folder)))
        return built[family]

    return loaded
