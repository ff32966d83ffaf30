"""Perturbations distributed over processes: bit-identical to one process; a failure ends all ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zobench.plugins import lookup
from zobench.zo import BudgetExhausted, Engine, Meter, Objective, build_space
from zobench.zo.conformance.problems import transformer
from zobench.zo.conformance.subject import Subject
from zobench.zo.distributed import agree, distribute
from zobench.zo.trajectory import to_row

STEPS = 3
METHODS = (("mezo", {"lr": 0.02, "n": 3}), ("fzoo", {"lr": 0.01, "n": 4}))

RANK = """
import json, sys
import torch
from torch import distributed
torch.set_num_threads(1)
rank, meeting, steps, methods = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
from zobench.plugins import lookup
from zobench.zo.conformance.subject import Subject
from zobench.zo.distributed import TorchExchange, distribute
from zobench.zo.trajectory import to_row
computed = 0
for name, params in methods:
    method = lookup("methods", name)
    run = Subject(method, method.Config(**params)).start()
    honest = run.objective._loss
    def counted(module, batch):
        global computed
        computed += 1
        return honest(module, batch)
    run.objective._loss = counted
    distribute(run.optimizer, TorchExchange())
    rows = [to_row(record) for record in run.steps(steps)]
    print(json.dumps([rows, run.space.digest(), run.objective.meter.forwards, computed]))
distributed.destroy_process_group()
"""


def test_two_processes_have_the_bits_of_one(tmp_path: Path) -> None:
    """MeZO with n = 3 (6 losses) and FZOO with n = 4 (5 losses) over gloo, one process per rank."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meeting"), str(STEPS), json.dumps(METHODS)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [process.communicate(timeout=240) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], said
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for line, (name, params) in enumerate(METHODS):
            method = lookup("methods", name)
            alone = Subject(method, method.Config(**params)).start()
            rows = json.loads(json.dumps([to_row(record) for record in alone.steps(STEPS)]))
            for out, _ in said:
                got_rows, digest, forwards, _ = json.loads(out.splitlines()[line])
                assert repr(got_rows) == repr(rows)
                assert digest == alone.space.digest()
                assert forwards == alone.objective.meter.forwards
    finally:
        torch.set_num_threads(threads)
    computed = [json.loads(out.splitlines()[-1])[3] for out, _ in said]
    assert computed == [STEPS * (3 + 3), STEPS * (3 + 2)], "each rank runs its share only"


class Scripted:
    """An exchange whose other rank says what the test wants."""

    rank, size = 0, 2

    def __init__(self, other: list[float] | None = None) -> None:
        self.other = other

    def gather(self, values: list[float]) -> list[list[float]]:
        return [list(values), list(values) if self.other is None else self.other]


def started(name: str = "mezo", engine: Engine | None = None, budget: int | None = None, **params: object):
    problem, cls = transformer(), lookup("methods", name)
    module = problem.make(torch.float32)
    space = build_space("full", {}, module)
    objective = Objective(module, problem.loss, Meter(budget))
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return cls(cls.Config(**params), space, seed=0, engine=engine), space, objective


def test_an_error_on_another_rank_ends_the_step_here_and_leaves_the_weights() -> None:
    method, space, objective = started(lr=0.1)
    distribute(method, Scripted())
    method.engine.perturbation.exchange.other = [1.0, 0.0]
    before = space.digest()
    with pytest.raises(RuntimeError, match="rank 1 failed"):
        method.step(objective)
    assert space.digest() == before


def test_a_budget_holds_the_forwards_of_all_ranks() -> None:
    method, space, objective = started(budget=5, lr=0.1, n=3)
    distribute(method, Scripted())
    before = space.digest()
    with pytest.raises(BudgetExhausted):
        method.step(objective)
    assert space.digest() == before


def test_ranks_must_start_alike() -> None:
    method, _, _ = started()
    with pytest.raises(ValueError, match="ranks 1 differ from rank 0 in method, config, seed, step"):
        distribute(method, Scripted([0.0] * 5))
    agree(Scripted(), "anything", "weights")


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("mezo", Engine(mode="in-place"), "rounding errors that differ by rank"),
        ("adamw", None, "uses more than losses"),
        ("forward-gradient", None, "uses more than losses"),
    ],
)
def test_methods_that_cannot_be_distributed_are_refused(
    name: str, engine: Engine | None, message: str
) -> None:
    method, _, _ = started(name, engine)
    with pytest.raises(ValueError, match=message):
        distribute(method, Scripted())


def test_distributing_twice_is_refused() -> None:
    method, _, _ = started()
    distribute(method, Scripted())
    with pytest.raises(ValueError, match="already"):
        distribute(method, Scripted())
