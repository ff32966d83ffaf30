"""Share of the time that executor ray spends on scheduling short runs.

Zero-shot runs of the built-in model on few test examples, each under a second, on a local Ray cluster. Time
of a task counts from its submission to its result; the rest after its runs is scheduling. The first task of
each process, which loads libraries and the model, is listed apart. ``--alone`` gives each run a task.

    python benchmarks/scheduling.py                   # 200 runs, 2 workers
"""

from __future__ import annotations

import argparse
import tempfile
import time

from zobench.runner import ray_executor, run_plan
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.suite.plan import Plan
from zobench.suite.schema import ExecutorSettings


def planned(seed: int) -> PlannedRun:
    spec = RunSpec(
        model=ModelRef(name="builtin:nano"),
        task=Component(name="nano-topic"),
        method=Component(name="none"),
        seed=seed,
        budget=Budget(forwards=0),
        evaluation=Evaluation(test_items=8),
    )
    return PlannedRun(row="zero-shot", spec=spec)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    if arguments.alone:
        ray_executor.GROUP_SECONDS = 0.0
    seen: list[ray_executor.Shares] = []
    honest = ray_executor.RayExecutor.close

    def close(self: ray_executor.RayExecutor) -> None:
        seen.append(self.shares)
        honest(self)

    ray_executor.RayExecutor.close = close  # type: ignore[method-assign]
    settings = ExecutorSettings(kind="ray", workers=arguments.workers)
    plan = Plan(suite="short", runs=tuple(planned(seed) for seed in range(arguments.runs)), executor=settings)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = run_plan(plan, folder, progress=False)
    (shares,) = seen
    print(f"{done.done} runs in {time.monotonic() - started:.1f} s; {len(done.failed)} failed")
    print(f"first tasks: {shares.first:.1f} s")
    print(
        f"then {shares.runs} runs in {shares.tasks} tasks: {shares.total:.2f} s, of which "
        f"{shares.running:.2f} s in runs; scheduling {shares.scheduling:.2%}"
    )


if __name__ == "__main__":
    main()
