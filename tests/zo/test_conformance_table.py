"""The page is made from results, and the run behind it goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.plugins import lookup
from zobench.zo.conformance import CHECKS, kit, table
from zobench.zo.conformance.subject import Failed, Skip

ROOT = Path(__file__).parents[2]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checks that only say what they were asked."""
    seen: list[str] = []

    def stub(key: str):
        def run(subject) -> str:
            seen.append(f"{subject.method.card.name} {key}")
            if key == "drift":
                raise Skip("no reason to drift")
            if key == "resume" and subject.method.card.name == "spsa":
                raise Failed("lost its place")
            return f"held {key}"

        return run

    monkeypatch.setattr(kit, "CHECKS", {key: stub(key) for key in CHECKS})
    return seen


def test_the_page_says_what_every_check_said(asked: list[str], tmp_path: Path) -> None:
    results, output = tmp_path / "results.jsonl", tmp_path / "page.md"
    table.main(["mezo", "spsa", "--results", str(results), "--output", str(output)])
    text = output.read_text(encoding="utf-8")
    assert f"2 methods, {2 * len(CHECKS)} checks: {2 * len(CHECKS) - 3} passed, 2 skipped, 1 failed" in text
    assert "- drift: skipped; no reason to drift" in text
    assert "- resume: failed; lost its place" in text
    assert text.count("- moves: passed; held moves") == 2
    row = next(line for line in text.splitlines() if line.startswith("| [spsa]"))
    assert [cell.strip() for cell in row.split("|")[2:-1]].index("✗") == list(CHECKS).index("resume")


def test_an_interrupted_run_goes_on(asked: list[str], tmp_path: Path) -> None:
    results, output = tmp_path / "results.jsonl", tmp_path / "page.md"
    arguments = ["mezo", "--results", str(results), "--output", str(output)]
    table.main(arguments)
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    results.write_text("".join(lines[:5]) + lines[5][:20], encoding="utf-8")
    asked.clear()
    table.main(arguments)
    assert asked == [f"mezo {key}" for key in list(CHECKS)[5:]]


def test_easier_settings_are_named() -> None:
    method = lookup("methods", "meerkat")
    result = kit.CheckResult("descent", True, False, detail="went down")
    lines = table.section(method, {"descent": result})
    assert "Checked with `density = 0.8`" in lines[0]
