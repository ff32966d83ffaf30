"""Tables of a page as Parquet files, and the command that writes them."""

from __future__ import annotations

import pandas as pd
import pytest
from synthetic import Entry, Study, make_synthetic
from typer.testing import CliRunner

from zobench.cli import app
from zobench.report import robustness
from zobench.report.analysis import analyse
from zobench.report.build import html
from zobench.report.export import tables, write_tables


def test_cells_are_what_the_page_saves():
    page = """<table data-name="a b">
    <thead><tr><th data-key="row">Row</th><th><b>Mean</b></th><th>N</th></tr></thead>
    <tbody><tr><th>x &lt;y&gt; <span>tag</span></th><td data-sort="0.123456789">12.3</td><td>−4</td></tr>
    <tr><th data-text="z">zz</th><td data-sort="">–</td><td>–</td></tr></tbody></table>
    <table><tr><td>1</td></tr></table>"""
    (table,) = tables(page)
    assert table.name == "a b"
    assert table.arrow().to_pydict() == {
        "row": ["x <y> tag", "z"],
        "mean": [0.123456789, None],
        "n": [-4, None],
    }


def test_every_table_and_all_digits(tmp_path):
    study = Study([Entry("a/../<b>", 0.05), Entry("fzoo")], {"topic": 0.7}, tuned=("fzoo",))
    folder = make_synthetic(tmp_path / "results", study)
    written = write_tables(folder, tmp_path / "out")
    assert len(set(written)) == len(written)
    assert all(p.parent == tmp_path / "out" for p in written)
    names = {p.stem for p in written}
    assert {"ranking", "robustness", "runs", "tasks", "tuning-fzoo-topic"} <= names
    ranking = pd.read_parquet(tmp_path / "out" / "ranking.parquet").set_index("row")["mean"]
    for s in analyse(folder).ranking.standings:
        assert ranking[s.row] == s.interval.value


@pytest.mark.parametrize("more", [[], ["--submission", "a.zip", "--tables", "out"]])
def test_the_command_wants_one_of_both(tmp_path, more):
    found = CliRunner().invoke(app, ["export", str(tmp_path), *more])
    assert found.exit_code == 2
    assert "--submission FILE" in found.output


def test_the_command_writes_tables(tmp_path):
    study = Study([Entry("mezo", 0.05), Entry("fzoo")], {"topic": 0.7})
    make_synthetic(tmp_path / "results", study)
    found = CliRunner().invoke(app, ["export", str(tmp_path / "results"), "--tables", str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    assert (tmp_path / "out" / "ranking.parquet").is_file()


def test_rounded_cells_keep_their_digits(tmp_path):
    study = Study([Entry("mezo", 0.05), Entry("fzoo")], {"topic": 0.7}, examples=37)
    found = analyse(make_synthetic(tmp_path / "results", study))
    page = {t.name: t.arrow().to_pylist() for t in tables(html(found))}
    measured = robustness.collect(found.source, found.ranking)["measured"]
    assert len(page["robustness-detail"]) == len(measured) > 0
    for cells, known in zip(page["robustness-detail"], measured, strict=True):
        assert cells["after"] == known["accuracy"]
        assert cells["success"] == known["success_rate"]
        interval = known["drop_ci"]
        assert cells["drop"] == f"{interval.value} ({interval.low} to {interval.high})"
