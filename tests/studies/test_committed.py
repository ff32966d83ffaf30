"""Files of a repository checkout: found next to the package; an installed package reports that it has
none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import zobench
from zobench.metrics.intervals import Interval
from zobench.studies import committed, markdown


def test_an_installed_package_has_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zobench, "__file__", str(tmp_path / "zobench" / "__init__.py"))
    with pytest.raises(ValueError, match="from a checkout"):
        committed.docs()


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        committed.keep(pd.DataFrame({"x": [1.0, 2.0]}), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_cells_keep_their_bars_and_missing_numbers_are_a_dash() -> None:
    assert markdown.table(["a", "b"], [["|S|", "1"]]) == ["| a | b |", "|---|---|", "| \\|S\\| | 1 |"]
    nothing = float("nan")
    assert [markdown.percent(nothing), markdown.percent(None), markdown.p_value(nothing)] == ["–"] * 3
    assert markdown.points(Interval(0.015, -0.002, 0.032, 0.01, 4.0, 5, 0.95, "t")) == "+1.5 [-0.2, +3.2]"
