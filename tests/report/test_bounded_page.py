"""Every interval of a share on the page, in the terminal and in scripts lies between 0 and 100."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from synthetic import Entry, Study, make_synthetic

from zobench.metrics.intervals import bounded_ends
from zobench.metrics.measures import SHARE
from zobench.report.analysis import analyse
from zobench.report.build import build
from zobench.report.terminal import show


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds and a spread of thirty points: a t interval of one task has a half width of 270 points."""
    entries = [Entry("wild", 0.0, sd=0.2), Entry("tame", 0.1, sd=0.01), Entry("best", 0.6, sd=0.0)]
    study = Study(entries, {"a": 0.5, "b": 0.55}, seeds=(0, 1), shared_sd=0.0, tuned=())
    return make_synthetic(tmp_path_factory.mktemp("wild"), study, compact=True)


def test_the_terminal(folder: Path) -> None:
    console = Console(width=220, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(analyse(folder), console)
    text = console.export_text()
    found = re.findall(r"(\d+\.\d) (\d+)–(\d+)", text)
    assert len(found) >= 4
    assert all(float(low) <= float(value) <= float(high) for value, low, high in found)
    ends = [float(e) for _, *pair in found for e in pair]
    assert min(ends) >= 0
    assert max(ends) <= 100
    assert "±0.0" in text, "of runs without a spread"
    assert max((float(h) for h in re.findall(r"±(\S+)", text)), default=0.0) == 0


def test_the_page(folder: Path, tmp_path: Path, open_page) -> None:
    opened = open_page(build(folder, tmp_path / "page.html"))
    texts = opened.page.eval_on_selector_all(".half", "found => found.map(f => f.textContent)")
    ends = [float(e) for t in texts if t.startswith("[") for e in t.strip("[]").split(", ")]
    assert len(ends) > 10
    assert min(ends) >= 0
    assert max(ends) <= 100
    for p in analyse(folder).ranking.pairs:
        assert -1 <= p.comparison.difference.low <= p.comparison.difference.high <= 1
    mean = np.array([0.02, 0.6133, 0.985, 1.0, 0.0])
    half = np.array([0.3, 0.989, 0.02, 0.0, 0.0])
    asked = [["clean||accuracy", float(v), float(h)] for v, h in zip(mean, half, strict=True)]
    drawn = opened.page.evaluate("asked => asked.map(a => ends(...a))", asked)
    np.testing.assert_allclose(np.array(drawn).T, bounded_ends(mean, half, SHARE), atol=1e-12)
    assert opened.page.evaluate("ends('clean||nll', 0.2, 0.5)") == pytest.approx([-0.3, 0.7])
    assert opened.problems == []
