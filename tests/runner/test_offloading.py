"""``perturbation: offload`` in a run: results of the resident mode; a resume after a kill at any write."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from runner_fakes import WORDS, FakeParts, TinyModel, counted_collectives
from test_resume import bits
from torch import nn

from zobench.distribution import Split
from zobench.models.digest import weights_digest
from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.ranks import Ranks
from zobench.runner.replaying import replay
from zobench.spec import Component, Evaluation, ModelRef
from zobench.store.checkpoint_file import read_checkpoint
from zobench.store.reader import read_run


class Deep(nn.Module):
    """Mean of word vectors, two layers in a list, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(4, 2)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) * 0.5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids).mean(1)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x)


class DeepParts(FakeParts):
    def load_model(self, ref: ModelRef) -> TinyModel:
        with torch.random.fork_rng():  # a model in place of one that is read from files draws nothing
            module = Deep().eval().to(getattr(torch, ref.dtype))
        identity = super().load_model(ref).identity
        return TinyModel(module, replace(identity, digest=weights_digest(module), dtype=ref.dtype))


PARTS = DeepParts()
SPLIT = Split(shards=4, by="both")


@pytest.fixture
def deep() -> ProcessCache:
    return ProcessCache(PARTS)


def planned(make_run, mode="offload", method="mezo", **changes):
    params = {"lr": 0.05, "epsilon": 1e-2} if method == "mezo" else {}
    return make_run(method, method=Component(name=method, params=params), perturbation=mode, **changes)


def result(runs, run_id):
    tables = {name: t.to_pylist() for name, t in read_run(runs, run_id).items()}
    steps = [(s["losses"], s["coefficients"]) for s in tables["steps"]]
    metrics = [(m["metric"], m["forwards"], m["value"]) for m in tables["metrics"]]
    return tables["runs"][0]["weights_digest"], steps, metrics


@pytest.mark.parametrize(("method", "split"), [("fzoo", None), ("mezo", SPLIT)])
def test_a_run_has_the_results_of_the_resident_mode(make_run, deep, tmp_path, method, split):
    found = []
    for mode in ("snapshot", "offload"):
        outcome = run_one(Job(planned(make_run, mode, method, split=split)), tmp_path, deep)
        assert outcome.status == "done", outcome.error
        found.append(result(tmp_path, outcome.run_id))
    assert found[0] == found[1]
    assert len({str(m) for m in found[0][2]}) > 2


def test_the_weights_come_back_from_the_scalars(make_run, deep, tmp_path):
    run_id = run_one(Job(planned(make_run)), tmp_path, deep).run_id
    assert replay(tmp_path / run_id, parts="test_offloading:PARTS").matches


def test_no_copy_of_the_model_is_made_and_the_next_run_finds_it_as_it_was(make_run, deep, tmp_path):
    ref = planned(make_run).spec.model
    before = weights_digest(deep.model(ref).module)
    loaded = deep.model(ref)
    assert run_one(Job(planned(make_run)), tmp_path, deep).status == "done"
    assert deep._models[ref].copy is None
    assert deep.model(ref) is loaded
    assert weights_digest(loaded.module) == before
    assert run_one(Job(planned(make_run, "streamed")), tmp_path, deep).status == "done"
    assert weights_digest(deep.model(ref).module) == before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stop_after", [1, 11])
def test_stopped_and_resumed_it_has_the_bits_of_an_uninterrupted_run(
    make_run, deep, tmp_path, stop_after, dtype
):
    more = {"model": ModelRef(name="tiny", dtype=dtype), "evaluation": Evaluation(at=(0, 20, 40))}
    job = Job(planned(make_run, **more), checkpoint_every=4)
    run_id = run_one(job, tmp_path / "a", deep).run_id
    seen: list[dict] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= stop_after)
    assert run_one(job, tmp_path / "b", deep, control).status == "interrupted"
    stored = read_checkpoint(tmp_path / "b" / run_id / "checkpoint.safetensors")
    assert stored is not None
    assert not stored.tensors, "a checkpoint holds the position only"
    assert run_one(job, tmp_path / "b", deep).status == "done"
    assert bits(tmp_path / "b", run_id) == bits(tmp_path / "a", run_id)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_offloading import PARTS
from zobench.runner.execute import run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import PlannedRun
from zobench.zo.offload import Offload
job = Job(PlannedRun.model_validate_json(Path(sys.argv[2]).read_text()), checkpoint_every=4)
write = Offload._write
for point in map(int, sys.argv[4:]):
    if os.fork() == 0:
        left = [point]
        def dying(self, update, names, factors):
            write(self, update, names[: len(names) // 2 + 1], factors)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, update, names[len(names) // 2 + 1 :], factors)
        Offload._write = dying
        run_one(job, Path(sys.argv[3]) / str(point), ProcessCache(PARTS))
        os._exit(0)
    assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL, "it ended before the kill"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_killed_in_the_middle_of_a_write_it_resumes_to_the_same_bits(make_run, deep, tmp_path):
    plan = planned(make_run)
    job, points = Job(plan, checkpoint_every=4), (1, 80)
    run_id = run_one(job, tmp_path / "expected", deep).run_id
    (tmp_path / "run.json").write_text(plan.model_dump_json())
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    here = str(Path(__file__).parent)
    command = [
        sys.executable,
        str(script),
        here,
        str(tmp_path / "run.json"),
        str(tmp_path),
        *map(str, points),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    resumed = []
    for point in points:
        runs = tmp_path / str(point)
        assert not list(runs.rglob("zobench-scratch-*"))
        resumed.append((runs / run_id / "checkpoint.safetensors").exists())
        assert run_one(job, runs, deep).status == "done"
        assert bits(runs, run_id) == bits(tmp_path / "expected", run_id), f"killed at write {point}"
    assert any(resumed)


@pytest.mark.slow
@pytest.mark.parametrize(("by", "processes"), [("both", 4)])
def test_in_shards_it_is_stopped_killed_and_goes_on_with_the_bits_of_the_resident_run(
    make_run, deep, tmp_path, monkeypatch, by, processes
):
    """Stopped on one process, then a process is killed, then run to the end: every process has a scratch copy
    of its own and makes the weights from the step log; they exchange scalars only."""
    torch.set_num_threads(1)
    split, where = Split(shards=4, by=by), tmp_path / "scratch"
    where.mkdir()
    resident = run_one(Job(planned(make_run, "snapshot", split=split)), tmp_path, deep).run_id
    whole = Job(planned(make_run, split=split), checkpoint_every=4, parts="test_offloading:PARTS")
    job = replace(whole, processes=processes, scratch=str(where))
    seen: list[dict] = []
    stop = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 6)
    assert run_one(whole, tmp_path, deep, stop).status == "interrupted"
    handed: list[Ranks] = []
    honest = Ranks.join
    monkeypatch.setattr(Ranks, "join", lambda self: (handed.append(self), honest(self))[1])

    def kill(event: dict) -> None:
        if event.get("forwards") == 20:
            os.kill(handed[0]._processes[-1].pid, signal.SIGKILL)

    assert f"process {processes - 1} of this run ended" in run_one(job, tmp_path, deep, Control(kill)).error
    sent = counted_collectives(monkeypatch)
    outcome = run_one(job, tmp_path, deep)
    assert outcome.status == "done", outcome.error
    assert result(tmp_path, outcome.run_id) == result(tmp_path, resident)
    assert not list(where.iterdir())
    assert sum(sent) <= 64 * (60 - 16), "from step 8, the last checkpoint before the kill"


def test_a_full_disk_is_told_before_the_first_step(make_run, deep, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    outcome = run_one(Job(planned(make_run)), tmp_path, deep)
    assert outcome.status == "failed"
    assert "the scratch copy of the weights needs" in outcome.error
    assert not outcome.forwards


def test_the_scratch_folder_is_the_given_one(make_run, deep, tmp_path, monkeypatch):
    asked = []
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: (asked.append(Path(folder)), usage(folder))[1])
    there = tmp_path / "scratch"
    there.mkdir()
    assert run_one(Job(planned(make_run), scratch=str(there)), tmp_path / "runs", deep).status == "done"
    assert asked == [there]
    assert not list(there.iterdir())
    failed = run_one(Job(planned(make_run, seed=2), scratch=str(tmp_path / "none")), tmp_path / "runs", deep)
    assert "does not exist" in failed.error


def test_a_model_file_that_changed_during_the_run_fails_it(make_run, deep, tmp_path):
    module = deep.model(planned(make_run).spec.model).module
    base = module.layers[1].weight.data
    seen: list[dict] = []

    def meddle(event: dict) -> None:
        seen.append(event)
        if sum("loss" in e for e in seen) == 5:
            base.view(-1)[0] += 1.0

    outcome = run_one(Job(planned(make_run)), tmp_path, deep, Control(meddle))
    assert outcome.status == "failed"
    assert "'layers.1.weight' is not what the scratch copy was made from" in outcome.error


def test_a_model_without_layers_fails_by_name(make_run, bench, tmp_path):
    outcome = run_one(Job(planned(make_run)), tmp_path, bench)
    assert outcome.status == "failed"
    assert "Bag has no list of layers (torch.nn.ModuleList)" in outcome.error
