"""Fixtures of the suite tests."""

from __future__ import annotations

import pytest
import suite_fakes


@pytest.fixture
def fake_catalogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods mezo, fzoo, zero-shot, needs and a plugin that cannot be imported; two tasks; two attacks."""
    suite_fakes.install(monkeypatch)
