"""Plans with tuning: its cost, its winner, and runs that go on from what was kept."""

from __future__ import annotations

import json
import shutil

from plan_runs import run, values

from zobench.store.compaction import compact
from zobench.store.plan_file import read_plan
from zobench.store.reader import read


def test_tuning_is_charged_recorded_and_kept(study, make_plan, tmp_path):
    plan = make_plan(studies=(study([{"lr": v} for v in (1e-6, 0.05, 1e4)]),))
    assert run(plan, tmp_path).done == 8
    runs = read(tmp_path).runs
    finals = runs[runs.purpose == "result"]
    assert list(finals.seed) == [0, 1] or set(finals.seed) == {0, 1}
    trials = runs[runs.purpose == "tuning"]
    assert set(finals.tuning_forwards) == {int(trials.forwards.sum())}
    record = json.loads(finals.environment.iloc[0])["tuning"]
    scores = {t["params"]["lr"]: t["scores"] for t in record["trials"]}
    assert scores[1e4] == [None, None]
    best = min((1e-6, 0.05), key=lambda lr: sum(scores[lr]))
    assert record["winner"] == {"lr": best}
    assert record["on_edge"] == (["lr"] if best == 1e-6 else [])
    assert json.loads(finals.method_params.iloc[0])["lr"] == best
    assert run(plan, tmp_path).kept == 8


def test_parts_add_up_to_the_whole_and_go_on_from_compacted_runs_alone(make_run, study, make_plan, tmp_path):
    """Seed by seed, each time in a new folder that has only what a repository would keep."""
    others = [make_run("nine", seed) for seed in (0, 1, 2)]
    whole = make_plan(*others, studies=(study([{"lr": v} for v in (1e-6, 0.05)]),))
    run(whole, tmp_path / "whole")
    before, expected = None, {0: (1 + 4 + 1, 0), 1: (1 + 4 + 1, 4), 2: (1 + 4, 4)}
    for seed, counts in expected.items():
        folder = tmp_path / str(seed)
        if before is not None:
            shutil.copytree(before / "runs" / "compact", folder / "runs" / "compact")
            shutil.copy(before / "runs" / "plan.json", folder / "runs")
        summary = run(whole, folder, seeds=(seed,))
        assert ((summary.done, summary.kept), summary.failed) == (counts, [])
        assert compact(folder) == counts[0] - counts[1]
        before = folder
    assert values(before) == values(tmp_path / "whole")
    ids = [
        {(e.kind, e.row, e.key): sorted(e.run_ids) for e in read_plan(folder / "runs").entries}
        for folder in (before, tmp_path / "whole")
    ]
    assert ids[0] == ids[1]
    assert sorted(len(i) for (kind, _, _), i in ids[0].items() if kind == "finals") == [2]


def test_tuning_one_setting_after_another(study, make_plan, tmp_path):
    one = study([], sampler="tpe", size=4, seeds=(10,), lr={"low": 1e-3, "high": 1e-1, "log": True})
    assert run(make_plan(studies=(one,)), tmp_path / "a").done == 6
    assert run(make_plan(studies=(one,)), tmp_path / "b").done == 6
    assert values(tmp_path / "a") == values(tmp_path / "b")


def test_tuning_without_a_winner_is_a_recorded_failure(study, make_plan, tmp_path):
    summary = run(make_plan(studies=(study([{"lr": 1e5}, {"lr": 1e6}]),)), tmp_path)
    assert len(summary.failed) == 2
    runs = read(tmp_path).runs
    assert set(runs[runs.purpose == "result"].status) == {"failed"}
    assert "no trial finished" in runs[runs.purpose == "result"].error.iloc[0]
