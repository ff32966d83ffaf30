"""The documentation site: it builds without a warning, needs no network, and searches from a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("material", reason="the extra 'docs' is not installed")
ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; ``--strict`` refuses dead links and anchors, and pages outside the navigation."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's banner on its successor, also under -q
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_opens_without_a_request_or_an_error(site: Path, open_page) -> None:
    pages = [
        "index",
        "quickstart",
        "concepts",
        "own-attack",
        "api/index",
        "api/unlearning",
        "method/mezo",
        "glossary",
        "notebook",
    ]
    watched = open_page(site / "index.html")
    for name in pages:
        watched.page.goto((site / f"{name}.html").as_uri())
        watched.page.wait_for_load_state("networkidle")
    assert watched.requests == []
    assert watched.problems == []


@pytest.mark.parametrize("width", [1400, 390])
def test_the_search_finds_a_word(site: Path, open_page, width: int) -> None:
    watched = open_page(site / "index.html", width=width)
    page = watched.page
    if width < 900:
        page.locator("label[for=__search]").first.click()
    page.locator("input.md-search__input").click()
    page.keyboard.type("budget-matched")
    hit = page.locator("a.md-search-result__link").first
    hit.wait_for(timeout=20_000)
    hit.click()
    page.wait_for_function("!location.href.includes('index.html')", timeout=20_000)
    assert "budget-matched" in page.locator("article").inner_text().lower()
    assert watched.requests == []


def test_no_page_names_an_outside_file(site: Path) -> None:
    loaded = re.compile(
        r"""<(?:script|img|iframe|link|source)\b[^>]*?(?:src|href)=["'](?:https?:)?//([^/"']+)"""
    )
    found = {
        (path.name, host)
        for path in site.rglob("*.html")
        for host in loaded.findall(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_every_file_that_a_page_links_to_is_in_the_site(site: Path) -> None:
    """Also files outside the navigation, of which ``--strict`` says nothing."""
    linked = re.compile(r"""\b(?:src|href)=["']((?!\w+:|//)[^"'#?]+)""")
    missing = {
        (path.name, there)
        for path in site.rglob("*.html")
        if path.name != "404.html"  # its addresses are those of a server
        for there in linked.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / unquote(there)).exists()
    }
    assert missing == set()


def test_the_python_interface_shows_types(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "api" / "unlearning.html").read_text(encoding="utf-8"))
    assert re.search(r"rows: ?Sequence\[FactRow\]", " ".join(text.split()))
    attacks = (site / "api" / "attacks.html").read_text(encoding="utf-8")
    assert "<code>original, edited</code>" in attacks, "two attributes in one line, not one with a type"


def test_every_builtin_method_has_a_page_with_formula_cost_parameters_and_citation(site: Path) -> None:
    from zobench.plugins import entries

    for name, entry in entries("methods").items():
        if entry.origin == "builtin":
            text = (site / "method" / f"{name}.html").read_text(encoding="utf-8")
            for heading in ("Cost", "Parameters", "Where it stands", "Conformance", "How to cite"):
                assert f">{heading}<" in text, f"{name}: {heading}"
