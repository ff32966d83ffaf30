"""Workers that share a folder: each run once, a killed worker's run again; the script for Slurm runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zobench.cli import app
from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.runner.leasing import leasing
from zobench.runner.work_file import read_work, write_work
from zobench.spec import Budget, Component
from zobench.store.lease import Lease, LeaseLost
from zobench.store.lock import FolderLock
from zobench.store.reader import read
from zobench.suite import expand, load

WORKER = """
import sys
from pathlib import Path
from zobench.runner import execute, run_plan
from zobench.runner.work_file import read_work
folder, name = Path(sys.argv[1]), sys.argv[2]
honest = execute._locked
def locked(run, control):
    with (folder / "begun.txt").open("a") as log:
        log.write(f"{name} {run.run_id}\\n")
    outcome = honest(run, control)
    with (folder / "ended.txt").open("a") as log:
        log.write(f"{name} {run.run_id}\\n")
    return outcome
execute._locked = locked
run_plan(read_work(folder), folder, workers=0, lease_seconds=5.0, progress=False, parts="runner_fakes:PARTS",
         checkpoint_every=2)
"""
SUITE = """
suite: shared runs
models: {nano: {name: "builtin:nano"}}
tasks: {nano-topic: {}}
methods: {zero-shot: {method: none, group: control}}
seeds: [1, 2]
budget: {forwards: 10, batch_size: 4}
evaluation: {test_items: 10}
"""


def lines(path: Path) -> list[tuple[str, str]]:
    text = path.read_text() if path.exists() else ""
    return [tuple(line.split()) for line in text.splitlines()]  # type: ignore[misc]


def started(folder: Path, name: str) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), *sys.path]))
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), name], env={**os.environ, "PYTHONPATH": paths}
    )


def until(condition, worker: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert worker.poll() is None, "the worker ended too early"
        time.sleep(0.02)


@pytest.mark.slow
def test_each_run_is_done_once_and_that_of_a_killed_worker_again(make_run, make_plan, tmp_path) -> None:
    """Six runs of about half a second; one worker is killed with SIGKILL in the middle of its second run."""
    slow = Component(name="count", params={"slow": 0.02})
    runs = [make_run(seed=s, task=slow, budget=Budget(forwards=24, batch_size=8)) for s in range(6)]
    write_work(tmp_path, make_plan(*runs))
    assert read_work(tmp_path).runs == tuple(runs)
    one, two = started(tmp_path, "one"), started(tmp_path, "two")
    until(lambda: sum(name == "one" for name, _ in lines(tmp_path / "begun.txt")) >= 2, one)
    one.send_signal(signal.SIGKILL)
    one.wait()
    assert two.wait(timeout=120) == 0
    begun, ended = lines(tmp_path / "begun.txt"), lines(tmp_path / "ended.txt")
    table = read(tmp_path / "runs", ["runs"]).runs
    assert sorted(table.status) == ["done"] * 6
    assert sorted(run for _, run in ended) == sorted(table.run_id), "each run ended once"
    again = [run for run in {run for _, run in begun} if sum(run == r for _, r in begun) > 1]
    killed = [run for name, run in begun if name == "one" and ("one", run) not in ended]
    assert again == killed
    assert len(killed) == 1
    assert {name for name, _ in ended} >= {"two"}


def test_a_leased_run_is_busy_and_a_failure_elsewhere_is_not_repeated(make_run, tmp_path, bench) -> None:
    runs = tmp_path / "runs"
    broken = make_run("nine", method=Component(name="nine", params={"fail_at": 0}))
    first = run_one(Job(broken, "tiny", leasing=leasing(tmp_path, 60)), runs, bench)
    assert (first.status, first.fresh) == ("failed", True)
    earlier = leasing(tmp_path, 60)
    os.utime(tmp_path / "leases" / f"{first.run_id}.failed", (earlier.since, earlier.since))
    second = run_one(Job(broken, "tiny", leasing=earlier), runs, bench)
    assert (second.status, second.fresh) == ("failed", False)
    assert second.error == f"on another worker: {first.error}"
    os.utime(tmp_path / "leases" / f"{first.run_id}.failed", (0, 0))
    assert run_one(Job(broken, "tiny", leasing=earlier), runs, bench).fresh
    held = Lease.acquire(tmp_path / "leases", first.run_id, 60)
    assert held is not None
    os.utime(tmp_path / "leases" / f"{first.run_id}.failed", (0, 0))
    assert run_one(Job(broken, "tiny", leasing=earlier), runs, bench).status == "busy"
    held.release()


def test_a_worker_without_a_plan_is_told_how_to_write_one(tmp_path) -> None:
    found = CliRunner().invoke(app, ["worker", str(tmp_path)])
    assert found.exit_code == 2
    assert f"zobench plan SUITE --to {tmp_path}" in found.output


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SUITE)
    return tmp_path / "s.yaml"


def test_without_locks_the_lease_alone_decides(make_run, tmp_path, bench, monkeypatch) -> None:
    """As on a file system without flock: a worker whose lease was taken ends and records nothing more."""

    def missing(folder: Path) -> None:
        raise NotImplementedError("this file system has no locks")

    monkeypatch.setattr(FolderLock, "acquire", missing)
    job = Job(make_run(), "tiny", leasing=leasing(tmp_path, 3600))

    def listener(event: dict) -> None:
        if event.get("forwards") == 10:
            (path,) = (tmp_path / "leases").iterdir()
            os.utime(path, (0, 0))
            thief = Lease.acquire(path.parent, path.name, 3600)
            assert thief is not None
            owners[0]._renew(0.0)

    owners: list[Lease] = []
    honest = Lease.acquire

    def acquire(*given):
        owners.append(honest(*given))
        return owners[-1]

    monkeypatch.setattr(Lease, "acquire", acquire)
    with pytest.raises(LeaseLost):
        run_one(job, tmp_path / "runs", bench, Control(listener))
    assert not list((tmp_path / "runs").rglob("status.json"))


@pytest.mark.slow
def test_the_slurm_script_is_a_worker_of_the_written_plan(suite, tmp_path) -> None:
    """The printed script under bash, with a stub of srun that runs its arguments."""
    folder = tmp_path / "results"
    printed = CliRunner().invoke(
        app, ["slurm", str(suite), "--output", str(folder), "--workers", "3", "--time", "1:00:00"]
    )
    assert printed.exit_code == 0, printed.output
    assert read_work(folder) == expand(load(suite))
    for line in ("#SBATCH --array=0-2", "#SBATCH --job-name=zobench-shared-runs", "#SBATCH --time=1:00:00"):
        assert line in printed.stdout.splitlines()
    job, stubs = tmp_path / "job.sh", tmp_path / "bin"
    job.write_text(printed.stdout)
    stubs.mkdir()
    (stubs / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (stubs / "srun").chmod(0o755)
    paths = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}", "PYTHONPATH": paths}
    alone = subprocess.run(["bash", str(job)], env=environment, capture_output=True, text=True)
    assert alone.returncode != 0
    assert "submit this script with sbatch" in alone.stderr
    environment["SLURM_ARRAY_TASK_ID"] = "1"
    done = subprocess.run(["bash", str(job)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("worker 1 on ")
    assert sorted(read(folder / "runs", ["runs"]).runs.status) == ["done", "done"]


@pytest.mark.parametrize(("option", "value"), [("--time", "soon"), ("--output", "with space")])
def test_what_slurm_would_not_read_is_refused(suite, tmp_path, monkeypatch, option, value) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["slurm", str(suite), option, value])
    assert found.exit_code == 2
    assert value in found.output
