"""A real limit of the address space: runs end as ``out_of_memory`` with a message, commands with one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of a process")

LIMITED = """
import json, resource, sys
from pathlib import Path

import numpy as np
import pyarrow
import torch
from runner_fakes import CountConfig, CountTask, FakeParts

from zobench.parameters import configure
from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec
from zobench.store.reader import read_run

KIND, BLOCK = sys.argv[2], 2**28  # 256 MiB for each example; the limit leaves room for less than four

def take(n):
    if KIND == "torch":
        return torch.ones(n * BLOCK, dtype=torch.uint8)
    if KIND == "numpy":
        return np.ones(n * BLOCK, dtype=np.uint8)
    if KIND == "arrow":
        return pyarrow.allocate_buffer(n * BLOCK)
    return bytearray(n * BLOCK)

class Large(CountTask):
    def loss(self, lm, module, batch):
        take(len(batch.inputs["ids"]))
        return super().loss(lm, module, batch)

class Parts(FakeParts):
    def task(self, component):
        return Large(configure(CountConfig, component.params))

def done(size, micro=None):
    spec = RunSpec(
        model=ModelRef(name="tiny"), task=Component(name="count"), seed=1,
        method=Component(name="mezo", params={"lr": 0.05, "epsilon": 1e-2}),
        budget=Budget(forwards=8, batch_size=size, micro_batch=micro), evaluation=Evaluation(),
    )
    outcome = run_one(Job(PlannedRun(row="r", spec=spec), "s"), Path(sys.argv[1]), ProcessCache(Parts()))
    row = read_run(Path(sys.argv[1]), outcome.run_id)["runs"].to_pylist()[0]
    return [outcome.status, row["status"], outcome.error]

done(1)  # imports and threads that a run needs come before the limit
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + 7 * BLOCK // 2
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(json.dumps([done(8), done(8, micro=1)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch", "numpy", "arrow", "python"])
def test_a_failed_allocation_in_a_step_ends_the_run_and_no_other(tmp_path: Path, kind: str) -> None:
    line = [sys.executable, "-c", LIMITED, str(tmp_path / "runs"), kind]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    found = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert found.returncode == 0, found.stderr[-2000:]
    (status, recorded, error), (other, *_) = json.loads(found.stdout.splitlines()[-1])
    assert status == recorded == "out_of_memory"
    assert "out of memory in step 0 with 8 examples at a time" in error
    assert "GiB (ulimit -v)" in error
    assert "a forward pass of 2 fits: write 'micro_batch: 2' in 'budget'" in error
    assert other == "done", "the process goes on with the next run"


@pytest.mark.parametrize("gibibytes", [0.25, pytest.param(0.4, marks=pytest.mark.slow)])
def test_a_command_that_cannot_be_loaded_ends_in_one_line(tmp_path: Path, gibibytes: float) -> None:
    """Between these sizes torch's library does not fit into the address space."""
    suite = tmp_path / "s.yaml"
    suite.write_text("suite: s\n")
    line = f"ulimit -v {int(gibibytes * 2**20)}; exec '{sys.executable}' -m zobench.cli plan '{suite}'"
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert found.returncode == 2, found.stderr[-2000:]
    assert found.stderr.startswith("error: not enough memory (")
    assert "GiB (ulimit -v)" in found.stderr
    assert len(found.stderr.splitlines()) == 1
