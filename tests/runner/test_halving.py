"""Successive halving in the runner: which trials are run, with which budgets, and which cost is charged."""

from __future__ import annotations

import json
from pathlib import Path

from zobench.cli.tuned import selections
from zobench.runner.scheduler import run_plan
from zobench.store import query
from zobench.suite import expand, load

SUITE = """\
suite: halved
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {params: {k: 2, validation_k: 2, test_rows: 4}}
methods:
  mezo: {tune: {space: {lr: [1e-5, 1e-4, 1e-3, 1e-2]}, seeds: [9], halving: {factor: 2, rungs: 2}}}
seeds: [1]
budget: {forwards: 8, batch_size: 2}
ruleset: tuned
"""


def test_every_rung_is_run_recorded_and_charged(tmp_path: Path) -> None:
    path = tmp_path / "halved.yaml"
    path.write_text(SUITE)
    plan = expand(load(path))
    summary = run_plan(plan, tmp_path / "out", workers=0, progress=False)
    assert summary.failed == []
    sql = "select purpose, budget_forwards, method_params, forwards, tuning_forwards, environment from runs"
    found = query(sql, tmp_path / "out")
    trials = found[found["purpose"] == "tuning"]
    assert sorted(trials["budget_forwards"]) == [4, 4, 4, 4, 8, 8]
    (final,) = found[found["purpose"] == "result"].to_dict("records")
    assert final["tuning_forwards"] == trials["forwards"].sum() == 4 * 4 + 2 * 8
    record = json.loads(final["environment"])["tuning"]
    assert record["rungs"] == [[4, 4], [2, 8]]
    assert [t["forwards"] for t in record["trials"]] == [4, 4, 4, 4, 8, 8]
    whole = [t for t in record["trials"] if t["forwards"] == 8]
    assert record["winner"] in [t["params"] for t in whole]
    assert json.loads(final["method_params"])["lr"] == record["winner"]["lr"]
    # the command line makes the same choice from the stored scores
    (told,) = selections(plan, tmp_path / "out")
    assert told["winner"] == record["winner"]
    assert told["forwards"] == 32
    again = run_plan(plan, tmp_path / "out", workers=0, progress=False)
    assert (again.done, again.kept) == (7, 7)
