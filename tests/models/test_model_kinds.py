"""docs/model_kinds.md agrees with the probe: every kind of model is created and probed again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zobench.studies import model_kinds

PAGE = Path(__file__).resolve().parents[2] / "docs" / "model_kinds.md"


def _ways(page: str) -> dict[tuple[str, str], str]:
    """(kind, architecture) -> how it is run. What was found holds numbers that differ between processors."""
    rows = [
        line.split(" | ") for line in page.splitlines() if re.match(r"\| [a-z0-9_.-]+( \(.*\))? \| ", line)
    ]
    return {(row[0].removeprefix("| "), row[1]): row[-1].removesuffix(" |") for row in rows}


def test_the_page_has_sixty_kinds_and_the_faults_that_were_reported() -> None:
    ways = _ways(PAGE.read_text(encoding="utf-8"))
    assert len({name.split(" ")[0] for name, _ in ways}) >= 60
    assert ways["bert (is_decoder: false)", "causal"] == "refused"
    assert ways["roberta (is_decoder: true)", "causal"] == "positions from 2"
    assert ways["fnet", "masked"] == "batches of equal length"


@pytest.mark.slow
def test_the_page_is_what_the_probe_finds() -> None:
    assert _ways(model_kinds.page()) == _ways(PAGE.read_text(encoding="utf-8"))
