"""Pages of single runs (``report --site``): reachable from the page, readable on a phone, in its units."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from synthetic import Entry, Study, make_synthetic

from zobench.report import section
from zobench.report.build import build
from zobench.report.runpages import _typed
from zobench.report.site import curve


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site of four runs, of which one has its details in the page."""
    monkeypatch.setattr(section, "TOP_RUNS", 1)
    study = Study([Entry("mezo", 0.05), Entry("fzoo", 0.09)], {"topic": 0.7}, seeds=(0, 1), steps=4)
    return build(make_synthetic(tmp_path / "results", study), tmp_path / "site", site=True)


def test_the_page_links_to_the_page_of_every_run(site: Path) -> None:
    linked = set(re.findall(r'href="(pages/[^"]+)"', site.read_text(encoding="utf-8")))
    assert linked == {f"pages/{path.name}" for path in (site.parent / "pages").iterdir()}
    assert len(linked) == 4


def test_a_run_page_begins_with_the_unattacked_accuracy_in_percent(site: Path) -> None:
    text = next((site.parent / "pages").iterdir()).read_text(encoding="utf-8")
    assert re.search(r"Test accuracy against forward passes; lowest [\d.]+ %, highest [\d.]+ %\.", text)
    first = re.search(r"<tbody>\s*<tr>(.*?)</tr>", text, re.S)
    assert first
    assert "accuracy" in first[1]
    assert "<td>clean</td>" in first[1]


def test_a_run_page_fits_a_phone(site: Path, open_page) -> None:
    watched = open_page(next((site.parent / "pages").iterdir()), width=390)
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    cut = (
        "f => f.filter((e) => e.scrollWidth > e.clientWidth || e.getBoundingClientRect().right > 390).length"
    )
    assert page.eval_on_selector_all("figure", cut) == 0
    hidden = "s => s.filter((e) => e.scrollHeight > e.clientHeight + 1).length"
    assert page.eval_on_selector_all(".scroll", hidden) == 0, "no script tells of more lines below"
    assert watched.problems == []


def test_a_loss_is_no_share() -> None:
    found = curve("training loss", [0, 2, 4], [0.5, None, 0.25])
    assert found is not None
    assert found["caption"] == "Training loss against forward passes; lowest 0.25, highest 0.5."
    assert curve("training loss", [0, 2], [0.5, None]) is None


def test_a_recorded_command_can_be_typed() -> None:
    assert _typed(["/env/bin/zobench", "run", "my suite.yaml"]) == "zobench run 'my suite.yaml'"
    assert _typed(["/env/zobench/cli/__main__.py", "run", "a"]) == "zobench run a"
    assert _typed(["train.py"]) == "train.py"
