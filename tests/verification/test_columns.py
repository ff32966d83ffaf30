"""Each column of each table of a submission is changed alone; the outcome agrees with the table in
docs/verification.md."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from zobench.store.reader import read
from zobench.store.schema import TABLES
from zobench.store.writer import parquet_bytes, to_table
from zobench.verification import add_to_results
from zobench.verification.bindings import BINDINGS
from zobench.verification.submission import CARRIED, read_submission

DOCS = Path(__file__).resolve().parents[2] / "docs" / "verification.md"
CARRIED_APART = ("spec", "environment")
COLUMNS = [(t, c) for t, columns in BINDINGS.items() for c in columns if c not in CARRIED_APART]


def other(kind, value):
    """Another value of the column's kind."""
    text = str(kind)
    if text == "string":
        return '{"x": 1.0}' if str(value).startswith("{") else f"{value or ''}x"
    if text.startswith("list"):
        return [*(value or []), 1]
    if text == "bool":
        return not value
    return (value or 0) + 1


def changer(table, column):
    kind = TABLES[table].field(column).type

    def change(head, tables):
        if table == "runs":
            row = head["run"]
        elif table == "metrics":
            row = next(r for r in tables[table] if r["final"] and r["condition_kind"] == "clean")
        else:
            row = tables[table][-1]
        row[column] = other(kind, row[column])

    return change


def value_sent(file, column):
    """The changed value of the last submitted answer."""
    return read_submission(file).predictions[-1][column]


def test_the_bindings_name_every_column_that_is_carried():
    assert {t: set(c) for t, c in BINDINGS.items()} == {t: set(TABLES[t].names) for t in BINDINGS}
    assert set(BINDINGS) == {"runs", *CARRIED}


@pytest.mark.parametrize("table", sorted(set(TABLES) - set(BINDINGS)))
def test_no_other_table_is_carried(submitted, verify, table):
    file = submitted()
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(f"{table}.parquet", parquet_bytes(to_table(table, [{"run_id": "a"}])))
    with pytest.raises(ValueError, match=f"unknown member '{table}.parquet'"):
        verify(file)


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(c) for c in COLUMNS])
def test_a_changed_column_meets_what_the_table_says(submitted, tampered, verify, tmp_path, table, column):
    honest = submitted()
    file = tampered(honest, changer(table, column))
    report = verify(file, steps=None)
    how = BINDINGS[table][column]
    assert report.passed == (how != "failed"), str(report)
    if how == "failed":
        return
    assert column in next(f.detail for f in report.findings if f.check == "claimed")
    claimed = read_submission(file)
    value = claimed.run[column] if table == "runs" else None
    add_to_results(report, tmp_path / "board")
    found = read(tmp_path / "board")
    if how == "own" and table == "predictions":
        assert (found.predictions[column].astype(object) != value_sent(file, column)).all()
        return
    if table != "runs":
        assert getattr(found, table)[column].isna().all()
        return
    (run,) = found.runs.to_dict("records")
    if how == "marked":
        assert column in run["note"].partition("claimed, not checked: ")[2]
        assert str(value) in str(run[column])
    elif how == "own":
        assert run[column] != value
    else:
        assert run[column] != run[column] or run[column] in (None, "method")


def test_an_environment_that_was_changed_stands_as_claimed(submitted, tampered, verify, tmp_path):
    def change(head, tables):
        head["environment"]["cpu"] = "another"
        head["environment"]["tuning"] = {"trials": []}

    report = verify(tampered(submitted(), change), steps=None)
    assert report.passed
    add_to_results(report, tmp_path / "board")
    (run,) = read(tmp_path / "board").runs.to_dict("records")
    environment = json.loads(run["environment"])
    assert environment["cpu"] != "another"
    assert "tuning" not in environment
    assert environment["claimed"]["environment"]["cpu"] == "another"


def test_the_documentation_has_the_table_of_bindings():
    text = DOCS.read_text(encoding="utf-8")
    for table, columns in BINDINGS.items():
        for how in ("failed", "own", "left out", "marked"):
            names = ", ".join(f"`{c}`" for c, kind in columns.items() if kind == how)
            assert not names or f"| {table} | {how} | {names} |" in text
