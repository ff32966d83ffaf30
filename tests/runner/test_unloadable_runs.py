"""Runs whose plugin cannot be imported fail by themselves; the other runs finish, and so do these once the
plugin is repaired."""

from __future__ import annotations

import pytest

from zobench.report.planned import belonging, unwanted
from zobench.runner.scheduler import run_plan
from zobench.spec import Component, placeholder
from zobench.store.plan_file import read_plan
from zobench.store.reader import read
from zobench.suite.plan import UnloadableRun

ERROR = "s.yaml:5: 'mine' from some-plugin cannot be loaded: SystemExit(3); repair or reinstall some-plugin"


@pytest.fixture
def call(tmp_path, make_run, make_plan):
    """``call("mezo", lost=["mine"])`` runs a plan and returns its summary; ``mine`` is mezo too."""
    written = Component(name="mezo", params={"lr": 0.05})
    whole = Component(name="mezo", params={"lr": 0.05, "epsilon": 1e-2})

    def do(*rows, lost=(), **more):
        runs = [make_run(row, method=whole, seed=int(row == "mine")) for row in rows]
        refused = (UnloadableRun(run=make_run(r, method=written, seed=1), error=ERROR) for r in lost)
        plan = make_plan(*runs, unloadable=tuple(refused))
        return run_plan(plan, tmp_path / "out", progress=False, parts="runner_fakes:PARTS", workers=0, **more)

    return do


@pytest.fixture
def rows(tmp_path):
    return lambda: read(tmp_path / "out").runs.set_index("row")


def folders(tmp_path):
    return sorted(p.name for p in (tmp_path / "out" / "runs").iterdir() if p.is_dir())


def test_it_fails_and_the_others_finish(call, rows, tmp_path, make_run):
    summary = call("mezo", lost=["mine"])
    assert summary.done == 1
    assert summary.failed == [("mine on count, seed 1", ERROR)]
    table = rows()
    assert dict(table["status"]) == {"mezo": "done", "mine": "failed"}
    assert ERROR in table.loc["mine", "error"]
    method = Component(name="mezo", params={"lr": 0.05})
    assert table.loc["mine", "run_id"] == placeholder(make_run("mine", method=method, seed=1).spec)


def test_its_place_is_the_same_at_every_call_and_in_the_plan(call, rows, tmp_path):
    call("mezo", lost=["mine"])
    before = folders(tmp_path)
    call("mezo", lost=["mine"])
    assert folders(tmp_path) == before
    assert unwanted(tmp_path / "out") == []
    table = read(tmp_path / "out").runs
    assert set(belonging([tmp_path / "out"], table, None).wanted) == set(table["run_id"])


def test_a_repaired_plugin_leaves_no_failure_behind(call, rows, tmp_path):
    call("mezo", lost=["mine"])
    assert call("mezo", "mine", retry_failed=True).failed == []
    assert dict(rows()["status"]) == {"mezo": "done", "mine": "done"}
    assert unwanted(tmp_path / "out") == []
    assert len(folders(tmp_path)) == 2


def test_earlier_results_of_the_row_stay_in_the_plan(call, rows, tmp_path):
    call("mezo", "mine")
    call("mezo", lost=["mine"])
    table = read(tmp_path / "out").runs
    assert sorted(table[table["row"] == "mine"]["status"]) == ["done", "failed"]
    assert unwanted(tmp_path / "out") == [], "'zobench prune' would remove them"
    call("mezo", "mine")
    assert dict(rows()["status"]) == {"mezo": "done", "mine": "done"}
    assert len(read_plan(tmp_path / "out" / "runs").entries) == 2


def test_a_call_for_another_row_neither_fails_nor_forgets_it(call, rows, tmp_path):
    call("mezo", lost=["mine"])
    assert call("mezo", lost=["mine"], only="mezo").failed == []
    assert rows().loc["mine", "status"] == "failed"
    assert unwanted(tmp_path / "out") == []


def test_fail_fast_stops_before_the_others(call, rows):
    assert call("mezo", lost=["mine"], fail_fast=True).done == 0
