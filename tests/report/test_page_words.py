"""Terms on pages: defined in one glossary, introduced at their first use, one term for each concept."""

from __future__ import annotations

import re
import tomllib
from html import unescape
from pathlib import Path

import pytest

from zobench.report import glossary
from zobench.report.build import build

ROOT = Path(__file__).resolve().parents[2]


def shown(text: str) -> str:
    """What a page shows: scripts, styles, tags and the glossary left out."""
    text = re.sub(
        r"<(script|style)\b.*?</\1>|<section id=\"glossary\">.*?</section>", " ", text, flags=re.DOTALL
    )
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture(scope="module")
def page_text(page_file: Path) -> str:
    return page_file.read_text(encoding="utf-8")


def test_a_page_holds_the_whole_glossary(page_text):
    terms = [str(term) for term, _ in glossary.entries()]
    assert (
        len(terms) == len(re.findall(r"^- ", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)) > 20
    )
    assert all(term.count("(") == term.count(")") for term in terms)
    assert terms == sorted(terms, key=str.lower)
    assert page_text.count('href="#glossary"') == 1
    section = page_text[page_text.index('<section id="glossary">') :]
    assert all(f"<dt>{term}</dt>" in section for term in terms)


def test_pages_of_runs_link_it(results, tmp_path):
    build(results, tmp_path, site=True)
    pages = list((tmp_path / "pages").glob("*.html"))
    assert pages
    assert all('href="../index.html#glossary"' in p.read_text(encoding="utf-8") for p in pages)


def test_markup_of_the_glossary_is_escaped():
    assert glossary._code("a <b> `c<d`") == "a &lt;b&gt; <code>c&lt;d</code>"


def test_the_wheel_carries_it():
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert "/docs/*.md" in targets["wheel"]["include"]
    assert "/docs/glossary.md" not in targets["wheel"]["exclude"]


def test_the_random_baseline_is_introduced_before_it_is_called_null(page_text):
    text = shown(page_text)
    assert re.search(r"\bnull", text, re.IGNORECASE).start() > text.index("budget-matched random baseline")


@pytest.mark.parametrize(
    "word", [r"\bcontrols?\b", r"\bgrades?\b", r"\b(test|training|validation|forget) rows\b"]
)
def test_words_that_pages_do_not_use(page_text, word):
    assert re.findall(word, shown(page_text), re.IGNORECASE) == []
