"""Commands that read results, called as a user does: report of several folders, site, exit codes of diff."""

from __future__ import annotations

import subprocess
import sys

import pytest
from synthetic import Entry, Study, make_synthetic
from typer.testing import CliRunner

from zobench.cli import app


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Results of three machines: two rows, a third row, and the first row on another seed."""
    folder = tmp_path_factory.mktemp("three")
    plain = {"examples": 0, "attacks": (), "steps": 4}
    make_synthetic(folder / "a", Study([Entry("mezo"), Entry("fzoo", 0.1)], **plain), compact=True)
    make_synthetic(folder / "b", Study([Entry("conmezo", -0.1)], **plain), compact=True)
    make_synthetic(folder / "c", Study([Entry("mezo", seeds=(7,))], seeds=range(8), **plain), compact=True)
    return folder


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_several_folders_make_one_page_and_a_site(three, tmp_path):
    found = run("report", three / "a", three / "b", three / "c", "--output", tmp_path / "site", "--site")
    assert found.exit_code == 0, found.output
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    for row in ("mezo", "fzoo", "conmezo"):
        assert row in text
    # mezo has a seed that the others lack: it is shown with the reason and not ranked
    assert "with seed 7 in addition" in text
    assert len(list((tmp_path / "site" / "pages").glob("*.html"))) == 3 * 3 * 3 + 3


def test_diff_says_what_changed_by_its_exit_code(three, tmp_path):
    same = run("diff", three / "a", three / "a")
    assert same.exit_code == 0
    assert "identical" in same.output
    assert run("diff", three / "a", three / "b").exit_code == 1  # rows are missing
    more = make_synthetic(
        tmp_path / "more",
        Study(
            [Entry("mezo", fields={"budget_forwards": 1200}), Entry("fzoo", 0.1)],
            examples=0,
            attacks=(),
            steps=4,
        ),
        compact=True,
    )
    other = run("diff", three / "a", more)
    assert other.exit_code == 2
    assert "different budget forwards" in " ".join(other.output.split())


@pytest.mark.parametrize("board", ["tuned", "self-tuned", "forwards-to-target", "memory"])
def test_every_shipped_leaderboard_that_fits_makes_a_page(three, tmp_path, board):
    found = run("report", three / "a", "--leaderboard", board, "--output", tmp_path / "page.html")
    assert found.exit_code == 0, found.output


def test_a_report_loads_no_model_library(three, tmp_path):
    code = (
        "import sys\nfrom zobench.report.build import build\n"
        "build(sys.argv[1], sys.argv[2])\n"
        "print(*[m for m in ('torch', 'transformers', 'numba', 'optuna', 'datasets') if m in sys.modules])"
    )
    words = [sys.executable, "-c", code, str(three / "a"), str(tmp_path / "page.html")]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
