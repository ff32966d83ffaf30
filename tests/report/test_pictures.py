"""The section of pictures in headless Chromium: every image is decoded, inside the page, with a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.report.build import build
from zobench.report.pictures import MOST_ATTACKED, MOST_PICTURES
from zobench.runner import run_plan
from zobench.suite import expand, load

pytestmark = pytest.mark.browser

SUITE = """
suite: pictures
models: {cnn: {name: "builtin:nano-cnn"}}
tasks: {mnist-5k: {params: {classes: [0, 1, 2, 3, 4], k: 20, validation_k: 5, test_rows: 60}}}
attacks: {square: {params: {epsilon: 0.5, budget: 12}}}
methods: {mezo: {params: {lr: 3e-3}}}
seeds: [0]
budget: {forwards: 8, batch_size: 8}
evaluation: {test_items: 60, attack_items: 20}
"""


def test_pictures_are_decoded_and_named_in_both_widths(tmp_path: Path, open_page) -> None:
    suite = tmp_path / "pictures.yaml"
    suite.write_text(SUITE)
    assert run_plan(expand(load(suite)), tmp_path / "out", workers=0).done == 1
    page = build(tmp_path / "out", tmp_path / "page.html")
    for width in (1280, 380):
        seen = open_page(page, "#pictures", width)
        images = seen.page.locator("#pictures img")
        assert 2 <= images.count() <= MOST_PICTURES + 2 * MOST_ATTACKED
        seen.page.eval_on_selector_all("#pictures img", "all => all.forEach(i => { i.loading = 'eager' })")
        seen.page.wait_for_function(
            "[...document.querySelectorAll('#pictures img')].every(i => i.complete && i.naturalWidth === 28)"
        )
        names = images.evaluate_all("all => all.map(i => i.alt)")
        assert all(name.startswith("mnist-5k-") for name in names)
        assert any(name.endswith("after square") for name in names)
        assert seen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
        seen.page.locator("#pictures").screenshot(path=str(tmp_path / f"pictures-{width}.png"))
        assert seen.problems == []
        assert seen.requests == []
