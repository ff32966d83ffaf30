"""Complete plans: only missing runs are executed, failures, several processes, killed workers, tuning."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from zobench.runner.jobs import Job, Outcome
from zobench.runner.progress import Board, Lines, Live
from zobench.runner.scheduler import run_plan
from zobench.runner.stopping import Reminder
from zobench.spec import Component
from zobench.store.compaction import compact
from zobench.store.plan_file import read_plan
from zobench.store.reader import read
from zobench.suite.plan import TuningStudy

PARTS = "runner_fakes:PARTS"


def run(plan, output, **more):
    return run_plan(plan, output, **{"progress": False, "parts": PARTS, **more})


def values(output):
    """(row, seed, condition, metric, at) -> value, of all runs."""
    results = read(output)
    merged = results.metrics.merge(results.runs[["run_id", "row", "seed", "method_params"]], on="run_id")
    keys = ["row", "seed", "method_params", "condition_kind", "metric", "params"]
    assert not merged.duplicated(subset=[*keys]).any()
    return {tuple(r[k] for k in keys): r["value"] for _, r in merged.iterrows()}


@pytest.fixture
def six(make_run, make_plan):
    return make_plan(*[make_run(row, seed) for seed in (0, 1, 2) for row in ("mezo", "nine")])


def test_same_command_again_does_nothing(six, tmp_path):
    first = run(six, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    again = run(six, tmp_path)
    assert (first.done, first.kept, first.failed) == (6, 0, [])
    assert (again.done, again.kept, again.failed) == (6, 6, [])
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == before
    assert len(read(tmp_path).runs) == 6


def test_only_one_row(six, tmp_path):
    assert run(six, tmp_path, only="nine").done == 3
    assert set(read(tmp_path).runs.row) == {"nine"}


def test_failed_run_is_recorded_and_others_go_on(make_run, make_plan, tmp_path):
    broken = make_run("nine", method=Component(name="nine", params={"fail_at": 1}))
    no_data = make_run("mezo", task=Component(name="count", params={"broken": True}))
    summary = run(make_plan(broken, no_data, make_run()), tmp_path)
    assert summary.done == 1
    assert [m for _, m in summary.failed] == [
        "RuntimeError: the method broke",
        "ValueError: this task has no data",
    ]
    assert sorted(read(tmp_path).runs.status) == ["done", "failed", "failed"]


def test_failed_run_whose_cause_is_gone_leaves_no_trace(make_run, make_plan, tmp_path, monkeypatch):
    from runner_fakes import CountTask

    with monkeypatch.context() as m:
        m.setattr(CountTask, "splits", lambda self, seed: 1 / 0)
        assert run(make_plan(make_run()), tmp_path).failed
    assert run(make_plan(make_run()), tmp_path).done == 1
    assert list(read(tmp_path).runs.status) == ["done"]


def test_processes_give_the_bits_of_one_process(six, tmp_path, monkeypatch):
    inline = run(six, tmp_path / "inline")
    pooled = run(
        six.model_copy(update={"executor": six.executor.model_copy(update={"kind": "process"})}),
        tmp_path / "pool",
        workers=2,
    )
    assert inline.done == pooled.done == 6
    assert pooled.first_seconds is not None
    assert values(tmp_path / "inline") == values(tmp_path / "pool")


def test_killed_worker_is_tried_again_and_others_go_on(make_run, make_plan, tmp_path):
    marker = str(tmp_path / "killed-once")
    once = make_run("nine", task=Component(name="count", params={"marker": marker}))
    always = make_run("nine", task=Component(name="count", params={"marker": "always"}))
    summary = run(make_plan(always, once, make_run(), kind="process"), tmp_path / "out", workers=2)
    assert Path(marker).exists()
    assert summary.done == 2
    assert [m for _, m in summary.failed] == [
        "its worker died twice (exit code -9: SIGKILL, with which the system ends processes when memory "
        "runs out)"
    ]
    runs = read(tmp_path / "out").runs
    assert sorted(runs.status) == ["done", "done", "failed"]


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from zobench.runner.scheduler import run_plan
from zobench.runner.stopping import Reminder
from zobench.suite.plan import Plan
plan = Plan.model_validate_json(Path(sys.argv[1]).read_text())
if __name__ == "__main__":
    parts, workers = "runner_fakes:PARTS", int(sys.argv[4])
    s = run_plan(plan, sys.argv[2], progress=False, parts=parts, workers=workers, checkpoint_every=3)
    print(json.dumps([s.done, s.kept, s.interrupted, s.failed]))
"""


@pytest.fixture
def start(tmp_path):
    """Start a plan in a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def go(plan, output, workers=0):
        file = tmp_path / "plan.json"
        file.write_text(plan.model_dump_json())
        command = [
            sys.executable,
            str(script),
            str(file),
            str(output),
            str(Path(__file__).parent),
            str(workers),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return go


def test_two_processes_on_one_suite(six, start, tmp_path):
    run(six, tmp_path / "expected")
    both = [start(six, tmp_path / "out") for _ in range(2)]
    answers = [json.loads(p.communicate(timeout=120)[0]) for p in both]
    assert [a[0] for a in answers] == [6, 6]
    assert sum(a[1] for a in answers) == 6
    assert len(read(tmp_path / "out").runs) == 6
    assert values(tmp_path / "out") == values(tmp_path / "expected")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_kill_at_random_moments(workers, make_run, make_plan, start, tmp_path):
    slow = Component(name="count", params={"slow": 0.004})
    kind = "process" if workers else "inline"
    plan = make_plan(
        *[make_run("nine", s, task=slow, attacks=(Component(name="swap"),)) for s in range(4)], kind=kind
    )
    run(plan, tmp_path / "expected", workers=0)
    output = tmp_path / "out"
    seen = 0
    for wait in (0.15, 0.4, 0.05, 0.6):
        process = start(plan, output, workers)
        _until(lambda p=process: any(output.glob("runs/*/steps.jsonl")) or p.poll() is not None)
        time.sleep(wait)
        process.kill()
        process.wait()
        now = len(read(output).runs)
        assert now >= seen, "a finished run was lost"
        seen = now
    process = start(plan, output, workers)
    assert json.loads(process.communicate(timeout=120)[0])[0] == 4
    assert values(output) == values(tmp_path / "expected")


def _until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_interrupt_stops_cleanly(workers, make_run, make_plan, start, tmp_path):
    import signal

    slow = Component(name="count", params={"slow": 0.02})
    kind = "process" if workers else "inline"
    plan = make_plan(*[make_run("nine", s, task=slow) for s in range(4)], kind=kind)
    output = tmp_path / "out"
    process = start(plan, output, workers)
    _until(lambda: any(p.stat().st_size > 0 for p in output.glob("runs/*/steps.jsonl")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    done, _, interrupted, failed = json.loads(out)
    assert interrupted
    assert "asked to end at their next step. Finished runs are kept" in err
    assert failed == []
    assert done < 4
    assert "interrupted" in set(read(output).runs.status)
    summary = run(plan, output, workers=0)
    assert summary.done == 4
    run(plan, tmp_path / "expected", workers=0)
    assert values(output) == values(tmp_path / "expected")


@pytest.fixture
def study(make_run):
    def build(candidates, seeds=(10, 11), sampler="grid", size=None, metric="nll", goal="min", **space):
        def template(seed, purpose):
            base = make_run(
                "mezo", seed, method=Component(name="mezo", params={"epsilon": 1e-2}), purpose=purpose
            )
            return base.model_copy(update={"tuning_of": "mezo" if purpose == "tuning" else None})

        return TuningStudy(
            row="mezo",
            model="tiny",
            task="count",
            space=space or {"lr": [c["lr"] for c in candidates]},
            sampler=sampler,
            sampler_seed=0,
            size=size or len(candidates),
            seeds=seeds,
            metric=metric,
            goal=goal,
            candidates=tuple(candidates),
            trial_templates=tuple(template(s, "tuning") for s in seeds),
            final_templates=tuple(template(s, "result") for s in (0, 1)),
        )

    return build


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


def test_plain_lines_of_progress(six, tmp_path, capsys):
    run(six, tmp_path, progress=True)
    out = capsys.readouterr().out
    assert "6 runs" in out
    assert "mezo on count, seed 0: done" in out
    assert "6/6 done" in out
    assert "\x1b" not in out


def test_the_first_run_says_that_it_loads_and_a_total_that_grows_says_why(make_plan, study, tmp_path, capsys):
    plan = make_plan(studies=(study([{"lr": v} for v in (1e-6, 0.05)]),))
    run_plan(plan, tmp_path, workers=0, parts=PARTS, progress=True)
    lines = capsys.readouterr().out.splitlines()
    first, total = lines[1], next(i for i, line in enumerate(lines) if " in all: " in line)
    assert first.startswith("loading model and data: ")
    assert sum(line.startswith("loading") for line in lines) == 1
    assert lines[total].endswith("with the settings chosen")
    jobs = int(lines[total].split(", ")[1].split()[0])
    assert int(lines[0].split()[0]) < jobs
    assert lines[-1].startswith(f"{jobs}/{jobs} done")


def test_headline_counts_and_the_bar_goes_by_forwards(make_run):
    job, other = Job(make_run()), Job(make_run(seed=1))
    budget = job.planned.spec.budget.forwards
    board = Board()
    board.add([job, other])
    board.begin(job)
    board.hear(job.key, {"forwards": 30, "loss": 0.5})
    stream = io.StringIO()
    Lines(board, stream).stop()
    assert "0/2 done, 1 running, 0 failed, 30 forward passes spent" in stream.getvalue()
    assert (board.task.completed, board.task.total) == (30, 2 * (budget + 50))
    board.end(job, Outcome("a", "done", fresh=True, forwards=budget))
    assert board.task.percentage == 50
    board.end(other, Outcome("b", "done", fresh=False))
    assert board.task.finished
    assert board.headline() == f"2/2 done (1 kept), 0 running, 0 failed, {budget} forward passes spent"


def test_an_interrupted_run_is_neither_failed_nor_made(make_run, monkeypatch):
    job = Job(make_run())
    board = Board()
    board.add([job])
    board.begin(job)
    stream, reminder = io.StringIO(), Reminder()
    reminder.refresh(board, Lines(board, stream))
    assert stream.getvalue() == "", "it waits a while"
    monkeypatch.setattr(Reminder, "EVERY_SECONDS", 0.0)
    reminder = Reminder()
    reminder.refresh(board, Lines(board, stream))
    assert f"still waiting for {board.name(job)} (starting). Ctrl-C again ends at once" in stream.getvalue()
    board.end(job, Outcome("a", "interrupted", fresh=True, forwards=30))
    assert board.headline() == "0/1 done, 0 running, 0 failed, 1 interrupted, 30 forward passes spent"
    assert (board.task.completed, board.task.finished) == (30, False)


def test_the_reason_of_a_failure_is_left_to_the_end(make_run):
    job, reason, stream = Job(make_run()), "x" * 300, io.StringIO()
    for status in ("failed", "diverged"):
        Lines(Board(), stream).ended(job, Outcome("a", status, fresh=True, error=reason))
    failed, diverged = stream.getvalue().splitlines()
    assert failed.endswith("failed  (reason below, at the end)")
    assert diverged.endswith(reason)


def test_lines_name_the_model_where_the_plan_has_several(make_run):
    one = make_run()
    model = one.spec.model.model_copy(update={"name": "other"})
    other = one.model_copy(update={"spec": one.spec.model_copy(update={"model": model})})
    board, stream = Board(), io.StringIO()
    board.add([Job(one)])
    assert "other" not in board.name(Job(one))
    board.add([Job(other)])
    for planned in (one, other):
        Lines(board, stream).ended(Job(planned), Outcome("a", "done", fresh=True))
    first, second = stream.getvalue().splitlines()
    assert f", {one.spec.model.name}, seed 0: done" in first
    assert ", other, seed 0: done" in second


def test_the_time_left_is_that_of_the_pace_so_far(make_run):
    now = [0.0]
    board = Board(bar=Progress(get_time=lambda: now[0], speed_estimate_period=math.inf))
    jobs = [Job(make_run(seed=s)) for s in range(5)]
    board.add(jobs)
    assert "left" not in board.headline(), "nothing is known yet"
    for job in jobs[:2]:
        now[0] += 90
        board.end(job, Outcome("a", "done", fresh=True, forwards=1))
    assert board.headline().endswith("0:04:30 left"), "three more runs"
    board.end(jobs[2], Outcome("a", "done", fresh=False))
    assert board.headline().endswith("0:03:00 left"), "one was there already"


def test_the_live_table_shows_bar_counts_and_running_runs(make_run):
    board = Board()
    board.add([Job(make_run())])
    board.begin(Job(make_run()))
    board.hear(Job(make_run()).key, {"forwards": 30, "loss": 0.5})
    console = Console(file=io.StringIO(), width=100)
    console.print(Live(board)._draw())
    shown = console.file.getvalue()
    for text in ("%", "0/1 done, 1 running", "mezo on count, seed 0", "0.500", "training"):
        assert text in shown


def test_ray_runs_the_same(six, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'zobench[ray]'")
    import os

    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    ray_plan = six.model_copy(update={"executor": six.executor.model_copy(update={"kind": "ray"})})
    assert run(ray_plan, tmp_path / "ray", workers=2).done == 6
    run(six, tmp_path / "inline")
    assert values(tmp_path / "ray") == values(tmp_path / "inline")


def test_ray_missing_is_a_clear_error(six, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    ray_plan = six.model_copy(update={"executor": six.executor.model_copy(update={"kind": "ray"})})
    with pytest.raises(ValueError, match="pip install"):
        run(ray_plan, tmp_path)
