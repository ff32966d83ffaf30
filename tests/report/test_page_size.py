"""The size of pages, and that the embedded plotly.js is the published file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from synthetic import Entry, Study, make_synthetic

from zobench.report import page
from zobench.report.build import build
from zobench.report.figures import template

MB = 1_000_000
MARK = "plotly.js (basic - minified)"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As large as ``suites/fewshot.yaml``: eight rows, three tasks, three seeds, 200 examples, 300 steps."""
    study = Study([Entry(f"row-{i}", 0.01 * i) for i in range(8)], examples=200, points=7, steps=300)
    return make_synthetic(tmp_path_factory.mktemp("board"), study)


def test_the_library_is_the_one_that_is_stated():
    vendor = page.HERE / "vendor"
    stated = json.loads((vendor / "plotly.json").read_text(encoding="utf-8"))
    library = (vendor / stated["file"]).read_bytes()
    assert hashlib.sha256(library).hexdigest() == stated["sha256"]
    assert f"{MARK} v{stated['version']}".encode() in library[:200]
    assert "MIT License" in (vendor / "plotly-LICENSE.txt").read_text(encoding="utf-8")


def test_a_page_of_one_run(tmp_path):
    study = Study([Entry("mezo", 0.05)], {"topic": 0.7}, seeds=(0,), steps=300)
    path = build(make_synthetic(tmp_path / "results", study), tmp_path / "page.html")
    assert path.stat().st_size <= 1.5 * MB


def test_a_leaderboard(board, tmp_path):
    assert build(board, tmp_path / "page.html").stat().st_size <= 2 * MB


def test_a_site_holds_one_copy(board, tmp_path):
    build(board, tmp_path, site=True)
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) == 1 + 72
    assert [p.name for p in pages if MARK in p.read_text(encoding="utf-8")] == ["index.html"]
    assert not list(tmp_path.rglob("*.js"))


def test_what_all_charts_share_is_plain_json():
    assert json.loads(page.json_for_script(template()))["layout"]["xaxis"] == {"automargin": True}
