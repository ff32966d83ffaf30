"""A run's weights come back from its scalars; a changed record does not pass."""

from __future__ import annotations

import pytest

from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.replaying import replay
from zobench.store.compaction import compact
from zobench.store.reader import read_run
from zobench.store.writer import RunFolder
from zobench.suite.spec import Component

PARTS = "runner_fakes:PARTS"


@pytest.mark.parametrize("row", ["mezo", "zo-adam", "zo-sgd-momentum"])
def test_weights_come_back_also_after_compaction(row, make_run, bench, tmp_path):
    planned = make_run(row, method=Component(name=row, params={"lr": 0.05}))
    outcome = run_one(Job(planned), tmp_path / "runs", bench)
    report = replay(tmp_path / "runs" / outcome.run_id, parts=PARTS)
    assert report.matches
    assert report.steps == 30
    assert "equal" in str(report)
    compact(tmp_path)
    assert replay(tmp_path / "runs" / outcome.run_id, parts=PARTS) == report


def test_a_changed_coefficient_is_found(make_run, bench, tmp_path):
    outcome = run_one(Job(make_run()), tmp_path, bench)
    tables = {name: t.to_pylist() for name, t in read_run(tmp_path, outcome.run_id).items()}
    tables["steps"][7]["losses"][0] += 1e-6
    RunFolder(tmp_path / outcome.run_id).finish("done", tables)
    with pytest.raises(ValueError, match="step 7"):
        replay(tmp_path / outcome.run_id, parts=PARTS)


def test_what_cannot_be_replayed_says_why(make_run, bench, tmp_path):
    outcome = run_one(Job(make_run("nine")), tmp_path, bench)
    with pytest.raises(ValueError, match="not replay from scalars"):
        replay(tmp_path / outcome.run_id, parts=PARTS)
    with pytest.raises(ValueError, match="no finished run"):
        replay(tmp_path / "nothing", parts=PARTS)
    failed = run_one(
        Job(make_run("nine", method=Component(name="nine", params={"fail_at": 0}))), tmp_path, bench
    )
    with pytest.raises(ValueError, match="no final weights"):
        replay(tmp_path / failed.run_id, parts=PARTS)
