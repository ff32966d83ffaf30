"""The committed table of methods agrees with the catalogue, the methods' cards and the committed results."""

from __future__ import annotations

import re
from typing import Any

from zobench.plugins import entries
from zobench.studies import committed, conformance
from zobench.zo.conformance import CHECKS

RENDER = "run: python -m zobench.studies.conformance --render"


def first_table(text: str, title: str) -> list[list[str]]:
    """Cells of the first table under a title, without the line below its header."""
    after = text.split(f"## {title}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(after) if line.startswith("|"))
    end = next(i for i in range(start, len(after)) if not after[i].startswith("|"))
    lines = [after[start], *after[start + 2 : end]]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_lists_every_method_with_its_card_and_every_check() -> None:
    text = committed.page("methods")
    methods = [f"`{n}`" for n, e in entries("methods").items() if e.origin == "builtin"]
    cards, kit = first_table(text, "Cards"), first_table(text, "Conformance")
    assert tuple(cards[0]) == conformance.COLUMNS
    assert [row[0] for row in cards[1:]] == methods
    assert [row[0] for row in kit[1:]] == methods
    assert kit[0] == ["method", *CHECKS]
    for row in cards[1:]:
        assert row == conformance.card_row(row[0].strip("`")), RENDER


def test_the_page_is_what_the_study_makes_of_the_kept_results() -> None:
    kept: dict[str, Any] = conformance.kept()
    text = committed.page("methods")
    assert text == conformance.page(kept), RENDER
    failed = [(n, c) for n, body in kept.items() for c, (kind, _) in body["checks"].items() if kind == "FAIL"]
    assert failed == []


def test_every_method_of_the_catalogue_has_a_result_of_every_check() -> None:
    kept = conformance.kept()
    missing = [name for name in conformance.builtin() if conformance.stale(kept.get(name))]
    assert missing == [], "run: python -m zobench.studies.conformance"


def test_the_readme_counts_the_methods() -> None:
    """Up to nine more are no reason to change the README with every method."""
    readme = (committed.docs().parent / "README.md").read_text(encoding="utf-8")
    stated = int(re.search(r"\*\*Complete\.\*\* (\d+) methods", readme)[1])
    assert stated <= len(conformance.builtin()) < stated + 10


def test_a_method_without_a_result_is_said_to_be_without() -> None:
    page = conformance.page({"mezo": {"checks": {c: ["pass", ""] for c in CHECKS}, "cpu_seconds": 60.0}})
    assert "1 of " in page
    first = next(name for name in conformance.builtin() if name != "mezo")
    assert f"Not run yet (?): `{first}`" in page
    assert page.count("✓ |") == len(CHECKS)
