"""Complete plans: only missing runs are executed, failures, several processes, killed workers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from plan_runs import run, values

from zobench.spec import Component
from zobench.store.reader import read


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
