"""Bytes on the wire of runs in shards: what a process gives to the collective calls of torch.distributed.

Each row runs on the built-in model with several processes (``executor.processes``). Bytes are counted at
``torch.distributed.all_gather``, in rank 0; every rank sends as much, because the lists have equal lengths.
Calls before the first step (agreement of the ranks) are not losses and are listed apart. The last column is
the largest anonymous memory of any process of the row (``RssAnon``, sampled every 20 ms; on Linux).

    python benchmarks/wire.py                         # 2 processes, 4 shards, a budget of 120 forward passes
    python benchmarks/wire.py --processes 4 --model package:smollm2-135m
    python benchmarks/wire.py --perturbation offload   # with weights outside the memory
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from zobench.distribution import Split
from zobench.runner.execute import run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read_run

METHODS = {"mezo": {"n": 1}, "fzoo": {"n": 8}}
BY = ("branches", "data", "both")


def planned(arguments: argparse.Namespace, method: str, by: Any) -> PlannedRun:
    spec = RunSpec(
        model=ModelRef(name=arguments.model),
        task=Component(name="nano-sentiment"),
        method=Component(name=method, params=METHODS[method]),
        seed=0,
        budget=Budget(forwards=arguments.forwards, batch_size=arguments.batch),
        split=Split(shards=arguments.shards, by=by),
        perturbation=arguments.perturbation,
    )
    return PlannedRun(row=method, spec=spec)


class Memory(threading.Thread):
    """The largest anonymous memory of this process and of those that it starts, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.ended = 0, threading.Event()

    def run(self) -> None:
        task = Path("/proc/self/task")
        while not self.ended.wait(0.02):
            children = [one.read_text() for one in task.glob("*/children")]
            for process in ["self", *" ".join(children).split()]:
                with contextlib.suppress(OSError, ValueError):
                    lines = Path(f"/proc/{process}/status").read_text().splitlines()
                    found = [int(line.split()[1]) >> 10 for line in lines if line.startswith("RssAnon")]
                    self.peak = max([self.peak, *found])


def measured(run: PlannedRun, processes: int, bench: ProcessCache) -> tuple[int, int, list[int]]:
    """Number of losses of a run, of its steps, and the bytes of every collective call."""
    sent: list[int] = []
    honest = distributed.all_gather

    def all_gather(tensors: Any, tensor: torch.Tensor, **options: Any) -> Any:
        sent.append(tensor.nbytes)
        return honest(tensors, tensor, **options)

    distributed.all_gather = all_gather
    try:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_one(Job(run, processes=processes), Path(folder), bench)
            assert outcome.status == "done", outcome.error
            steps = read_run(Path(folder), outcome.run_id)["steps"].to_pylist()
    finally:
        distributed.all_gather = honest
    return sum(len(step["losses"]) for step in steps), len(steps), sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--forwards", type=int, default=120)
    parser.add_argument("--model", default="builtin:nano")
    parser.add_argument("--perturbation", default="auto")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--by", nargs="+", choices=BY, default=list(BY))
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = ProcessCache(CATALOGUE)
    print("method  by        losses  steps  bytes before  bytes in steps  bytes per loss and process  MiB")
    for method in arguments.methods:
        for by in arguments.by:
            memory = Memory()
            memory.start()
            losses, steps, sent = measured(planned(arguments, method, by), arguments.processes, bench)
            memory.ended.set()
            # Two calls a step (its index, its losses) and one after the last step; the others come before.
            in_steps = sent[-2 * steps - 1 :]
            before, during = sum(sent) - sum(in_steps), sum(in_steps)
            counted = f"{losses:6}  {steps:5}  {before:12}  {during:14}  {during / losses:26.1f}"
            print(f"{method:6}  {by:8}  {counted}  {memory.peak}", flush=True)


if __name__ == "__main__":
    main()
