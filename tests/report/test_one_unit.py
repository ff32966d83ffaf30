"""Letters and diagram of a page have one unit and one correction; the effect of an attack always has the same
sign."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import Entry, Study, make_synthetic

from zobench.report import rank_diagram, terminal
from zobench.report.analysis import Analysis, analyse
from zobench.report.build import build
from zobench.report.robustness import collect

ROWS = [Entry("first", 0.06, sd=0.02), Entry("second", 0.03, sd=0.02), Entry("third", 0.0, sd=0.02)]
TASKS = {"a": 0.6, "b": 0.7, "c": 0.65}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Three rows in the same order on every task and nearly every seed: Nemenyi's test over nine blocks tells
    the first from the last, the paired tests over seeds do not."""
    return analyse(
        make_synthetic(tmp_path_factory.mktemp("unit"), Study(ROWS, TASKS, examples=40), compact=True)
    )


def test_the_diagram_draws_the_letters(found: Analysis) -> None:
    groups = found.ranking.tie_groups
    drawn = str(rank_diagram.diagram(found.ranking.mean_ranks, groups)).partition("</svg>")[0]
    assert drawn.count('class="cd-bar"') == sum(len(g) > 1 for g in groups)
    assert drawn.count('class="cd-dot"') == sum(len(g) for g in groups if len(g) > 1)
    means = {s.row: {b: i.value for b, i in s.blocks.items()} for s in found.ranking.ranked}
    for row, rank in found.ranking.mean_ranks.items():
        by_hand = [1 + sum(m[b] > means[row][b] for m in means.values()) for b in means[row]]
        assert rank == pytest.approx(sum(by_hand) / 3)


def test_one_task_has_no_diagram_and_says_why(tmp_path: Path) -> None:
    folder = make_synthetic(tmp_path / "one", Study(ROWS, {"a": 0.6}, examples=0, attacks=()), compact=True)
    assert analyse(folder).ranking.mean_ranks == {}
    text = build(folder, tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'class="cd"' not in text
    assert "With one task a mean rank over tasks is the rank above" in text


def test_the_page_names_no_second_test_and_says_what_is_not_corrected(
    found: Analysis, tmp_path: Path
) -> None:
    page = build(found.source.folders[0], tmp_path / "page.html").read_text(encoding="utf-8")
    for word in (
        "Nemenyi",
        "Friedman",
        "critical difference",
        "blocks of task and seed",
        "Null minus attack",
    ):
        assert word not in page
    assert "intervals are not corrected" in page
    assert "(uncorrected 95 % interval" in page


def test_net_loss_has_one_sign_in_terminal_and_page(found: Analysis) -> None:
    """Accuracy under the baseline minus accuracy under the attack: positive where the attack does harm."""
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    terminal.show(found, console)
    assert "char-typos (net loss)" in console.export_text()
    cells = terminal.attack_columns(found)
    measured = collect(found.source, found.ranking)["measured"]
    assert measured
    for attack, by_row in cells.items():
        for row, text in by_row.items():
            shown = float(re.search(r"\(([+−].*)\)", text).group(1).replace("−", "-"))  # type: ignore[union-attr]
            mine = found.attacks.query("row == @row and condition == @attack").iloc[0]
            assert shown == pytest.approx(100 * (mine["null"] - mine["robust"]), abs=0.051)
            gaps = [c["null_gap"].value for c in measured if (c["row"], c["condition"]) == (row, attack)]
            assert (shown > 0) == (sum(gaps) > 0)
