"""Overhead of the runner per run, per step and per checkpoint.

Run with ``python benchmarks/suite.py``. A model of a few hundred weights takes almost no time for training
and evaluation, so that the measured time is that of the runner: identity, locks, log, checkpoints, tables. It
is printed in seconds per run, and as a share of a run whose training takes ``--train-seconds`` (``zobench
show`` prints this time for your own runs).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "runner"))

import torch
from runner_fakes import FakeParts

from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read_run


def planned(seed: int) -> PlannedRun:
    method = Component(name="mezo", params={"lr": 0.05, "epsilon": 1e-2})
    spec = RunSpec(
        model=ModelRef(name="tiny"),
        task=Component(name="count"),
        method=method,
        seed=seed,
        budget=Budget(forwards=600),
        evaluation=Evaluation(at=(0, 150, 300, 450)),
    )
    return PlannedRun(row="mezo", spec=spec)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--train-seconds", type=float, default=8.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = ProcessCache(FakeParts())
    runs = Path(tempfile.mkdtemp())
    walls, overheads, kept = [], [], []
    for seed in range(args.runs + 1):
        job = Job(planned(seed), checkpoint_every=100)
        started = time.perf_counter()
        outcome = run_one(job, runs, bench)
        wall = time.perf_counter() - started
        row = read_run(runs, outcome.run_id)["runs"].to_pylist()[0]
        walls.append(wall)
        overheads.append(wall - row["train_seconds"] - row["evaluation_seconds"])
        started = time.perf_counter()
        run_one(job, runs, bench)
        kept.append(time.perf_counter() - started)
    # The first run includes the time of imports and compilation.
    overhead = statistics.median(overheads[1:])
    print(
        f"first run {walls[0]:.3f} s; later {statistics.median(walls[1:]):.3f} s for 300 steps on 170 weights"
    )
    print(f"runner's own: {overhead:.3f} s per run, {overhead / 300 * 1e3:.2f} ms per step")
    print(f"share of a run of {args.train_seconds:g} s: {overhead / args.train_seconds:.1%}")
    print(f"a finished run is recognised in {statistics.median(kept[1:]) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
