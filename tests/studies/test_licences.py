"""docs/licences.md names every package of the lock and of the tests, with what its metadata states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zobench.studies import committed, licences

LOCK = Path(__file__).parents[2] / "locks" / licences.LOCK


def rows(part: str) -> dict[str, list[str]]:
    """Name -> version, licence and field of one table of the committed page."""
    body = committed.page("licences").split(f"## {licences.PARTS[part]}\n")[1].split("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| ")]
    return {name: more for name, *more in cells[1:]}


def test_the_page_has_every_package_of_the_lock_in_its_version() -> None:
    pinned = licences.pinned(LOCK)
    assert {name: cells[0] for name, cells in rows("needed").items()} == pinned
    assert len(pinned) > 50


def test_the_page_has_what_the_installed_packages_state() -> None:
    written = rows("needed") | rows("test")
    here = {n: p for n, p in licences.installed().items() if n in written and p.version == written[n][0]}
    assert "numpy" in here or "pytest" in here
    assert {n: [p.version, p.stated or "none stated", p.source or "–"] for n, p in here.items()} == {
        n: written[n] for n in here
    }


def test_the_page_points_to_licences_that_ask_for_something() -> None:
    page = committed.page("licences")
    assert re.search(r"No licence stated in the metadata\*\*: .*axe-playwright-python", page)
    assert re.search(r"LGPL or MPL\*\*: .*\bchardet\b", page)
    # nevergrad (extra ``blackbox``) requires it; zobench does not import it.
    assert "**GPL or AGPL**: extras and tests: directsearch." in page
    for model in ("SmolLM2-135M-Instruct", "Gemma Terms of Use"):
        assert model in page


@pytest.mark.parametrize(
    ("metadata", "stated"),
    [
        ({"license_expression": "MIT", "license": "BSD"}, ("MIT", "expression")),
        ({"license": "Apache 2.0"}, ("Apache 2.0", "text")),
        (
            {
                "license": "Copyright\n" * 9,
                "classifier": ["License :: OSI Approved :: BSD License", "Topic :: x"],
            },
            ("BSD License", "classifier"),
        ),
        ({"license": "Permission is granted " * 9}, ("see its licence text", "text")),
        ({"license": None, "classifier": ["Topic :: x"]}, ("", "")),
        ({"license": "UNKNOWN", "classifier": ["Topic :: x"]}, ("", "")),
        (
            {"license": "UNKNOWN", "classifier": ["License :: OSI Approved :: MIT License"]},
            ("MIT License", "classifier"),
        ),
        ({}, ("", "")),
    ],
)
def test_what_metadata_states(metadata: dict, stated: tuple[str, str]) -> None:
    assert licences.stated(metadata) == stated


@pytest.mark.parametrize(
    ("text", "weak", "strong"),
    [
        ("LGPL-2.1-or-later", True, False),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", True, False),
        ("MPL-2.0 AND MIT", True, False),
        ("GPL-3.0-only", False, True),
        ("GNU General Public License v3 (GPLv3)", False, True),
        ("AGPL-3.0", False, True),
        ("Apache-2.0", False, False),
    ],
)
def test_copyleft(text: str, weak: bool, strong: bool) -> None:
    package = licences.Package("x", "1", text, "text")
    assert (package.weak, package.strong) == (weak, strong)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ValueError, match="not installed: b"):
        licences.page(["a", "b"], {"a": licences.Package("a", "1", "MIT", "text")}, {})
