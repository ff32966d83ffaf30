"""A run's weights are rebuilt from its recorded scalars; a modified record is refused."""

from __future__ import annotations

import json

import pytest
from runner_fakes import FakeParts

from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.replaying import replay
from zobench.spec import Component
from zobench.store.compaction import compact
from zobench.store.reader import read_run
from zobench.store.writer import RunFolder

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


def test_another_revision_of_the_method_is_named_and_not_replayed(make_run, bench, tmp_path):
    outcome = run_one(Job(make_run()), tmp_path, bench)
    tables = {name: t.to_pylist() for name, t in read_run(tmp_path, outcome.run_id).items()}
    environment = json.loads(tables["runs"][0]["environment"])
    environment["digests"]["method"] = "7"
    tables["runs"][0]["environment"] = json.dumps(environment)
    RunFolder(tmp_path / outcome.run_id).finish("done", tables)
    with pytest.raises(ValueError, match=r"made by revision 7 of mezo, this is revision 1: .* version"):
        replay(tmp_path / outcome.run_id, parts=PARTS)


def test_a_record_cannot_have_code_run(make_run, bench, tmp_path, monkeypatch):
    """Whoever made the results asks for remote code in the recorded specification: nothing is loaded."""
    outcome = run_one(Job(make_run()), tmp_path, bench)
    tables = {name: t.to_pylist() for name, t in read_run(tmp_path, outcome.run_id).items()}
    spec = json.loads(tables["runs"][0]["spec"])
    spec["model"]["trust_remote_code"] = True
    tables["runs"][0]["spec"] = json.dumps(spec)
    RunFolder(tmp_path / outcome.run_id).finish("done", tables)
    before = FakeParts.loads
    with pytest.raises(ValueError, match=r"needs to execute Python code of model .* --trust-code"):
        replay(tmp_path / outcome.run_id, parts=PARTS)
    assert FakeParts.loads == before
    assert replay(tmp_path / outcome.run_id, trust_code=True, parts=PARTS).matches
    assert FakeParts.loads == before + 1


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


def test_a_replay_to_a_step_proves_the_whole_run_and_stands_at_the_step(make_run, bench, tmp_path):
    outcome = run_one(Job(make_run("zo-adam", method=Component(name="zo-adam"))), tmp_path, bench)
    path = tmp_path / outcome.run_id
    seen = [replay(path, to=t, parts=PARTS) for t in (0, 1, 30)]
    assert [r.at for r in seen] == [0, 1, 30]
    assert all(r.matches and r.steps == 30 for r in seen)
    assert len({r.digest for r in seen}) == 3
    assert seen[2].digest == seen[2].recorded
    with pytest.raises(ValueError, match="30 steps: it cannot be replayed to step 31"):
        replay(path, to=31, parts=PARTS)


def test_losses_that_no_query_asks_for_are_found(make_run, bench, tmp_path):
    outcome = run_one(Job(make_run()), tmp_path, bench)
    tables = {name: t.to_pylist() for name, t in read_run(tmp_path, outcome.run_id).items()}
    tables["steps"][7]["losses"].append(1.0)
    RunFolder(tmp_path / outcome.run_id).finish("done", tables)
    with pytest.raises(ValueError, match="step 7 does not replay: 1 of its losses"):
        replay(tmp_path / outcome.run_id, parts=PARTS)
