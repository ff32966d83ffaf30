"""The query and the Python snippet of the README print the page's numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from zobench.report.analysis import analyse
from zobench.store import query, read

README = Path(__file__).parents[2] / "README.md"
FOLDER = "reports/mine"


def page_means(results: Path) -> dict[str, float]:
    """Mean over tasks and seeds of every ranked entry, as the page's ranking has them."""
    return {s.row: s.interval.value for s in analyse([results]).ranking.standings if s.ranked}


def test_the_query_of_the_readme_gives_the_means_of_the_page(results: Path) -> None:
    (asked,) = re.findall(rf'^zobench query "(.*)" {FOLDER}$', README.read_text(), re.MULTILINE)
    found = query(asked, results).set_index("row").iloc[:, 0]
    expected = page_means(results)
    assert len(expected) >= 3
    for row, mean in expected.items():
        assert found[row] == pytest.approx(mean, abs=1e-12), row


def test_the_snippet_of_the_readme_gives_the_cells_of_the_page(results: Path) -> None:
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if FOLDER in c)
    *setup, shown = code.strip().replace(FOLDER, str(results)).splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(setup), names)
    table = eval(shown, names)
    ranking = analyse([results]).ranking
    checked = 0
    for standing in ranking.standings:
        for block, interval in standing.blocks.items() if standing.ranked else ():
            assert table.loc[standing.row, block.split("|")[0]] == pytest.approx(interval.value, abs=1e-12)
            checked += 1
    assert checked >= 9


def test_finals_hold_clean_test_values_of_results_only(results: Path) -> None:
    finals = read([results]).finals
    pd.testing.assert_frame_equal(finals, query("select * from finals order by all", results))
    assert not finals.duplicated(["run_id", "task", "metric"]).any()
    runs = read([results]).runs.set_index("run_id")
    assert (runs.loc[finals["run_id"], "purpose"] == "result").all()
    everything = read([results]).metrics
    assert len(everything) > 3 * len(finals)
    lost = finals[finals["status"] == "diverged"]
    assert lost["value"].tolist() == runs.loc[lost["run_id"], "chance"].tolist() != []
