"""Pages of methods: a docstring as prose and formulas, links, the citation."""

from __future__ import annotations

import re

import pytest

from zobench.plugins import lookup
from zobench.report.methods import ARXIV
from zobench.studies import conformance, method_pages

DOCSTRING = """\
A method: one sentence (arXiv 2305.17333).

x_0 = 1
``y`` <- x_1 * 2

A paragraph that is wrapped at the width of the project's lines, with a name like ``perturb`` and <G, u> a*b
and the end of it.
"""


def test_wrapped_text_is_prose_and_formulas_stay_as_laid_out() -> None:
    first, formula, last = method_pages.described(DOCSTRING)
    assert first == "A method: one sentence (arXiv [2305.17333](https://arxiv.org/abs/2305.17333))."
    assert formula == "```text\nx_0 = 1\ny <- x_1 * 2\n```"
    assert last.endswith("a name like `perturb` and &lt;G, u> a\\*b and the end of it.")


def test_a_repository_with_its_commit_is_a_link() -> None:
    link = "[optsuite/LOZO@5d1ade5](https://github.com/optsuite/LOZO/tree/5d1ade5)"
    assert method_pages.linked("see optsuite/LOZO@5d1ade5.") == f"see {link}."


@pytest.mark.parametrize("name", ["mezo", "adam", "cma-es"])
def test_a_citation_has_every_paper_and_no_invented_author(name: str) -> None:
    page = method_pages.page(name)
    entries = re.search(r"```bibtex\n(.*?)\n```", page, re.S)
    papers = ARXIV.findall(lookup("methods", name).card.source)
    assert papers
    assert entries
    for paper in papers:
        assert f"eprint        = {{{paper}}}" in entries[1]
        assert f"% Title and authors: https://arxiv.org/bibtex/{paper}\n@misc{{" in entries[1]
    assert re.findall(r"author +=.*", entries[1]) == ["author = {{The zobench authors}},"], (
        "no invented author"
    )
    assert f"method {name}, revision" in entries[1]


def test_every_public_code_belongs_to_a_method() -> None:
    sources = " ".join(lookup("methods", name).card.source for name in conformance.builtin())
    assert [paper for paper in method_pages.CODE if paper not in sources] == []


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("mezo", "default suite"),
        ("lozo", "SmolLM2-135M"),
        ("zo-muon", "MNIST"),
        ("es", "reward countdown"),
        ("flowopt", "start code of a flow"),
    ],
)
def test_a_method_stands_in_every_committed_comparison_with_its_row(name: str, where: str) -> None:
    standing = method_pages.page(name).partition("## Where it stands")[2].partition("## ")[0]
    assert f"[{where}" in standing
