"""Mode factored-lazy in a run: evaluation or a stop changes no result, and the record rebuilds the
weights."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from runner_fakes import WORDS, FakeParts, TinyModel
from test_resume import bits
from torch import nn

from zobench.models.digest import weights_digest
from zobench.runner.execute import Control, run_one
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.spec import Component, Evaluation, ModelRef
from zobench.store.reader import read_run


class Layers(nn.Module):
    """Mean of word vectors, then a linear layer; both are torch's own."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.embedding = nn.Embedding(WORDS, 4)
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.randn(WORDS, 4, generator=generator) * 0.5)
            self.head.weight.copy_(torch.randn(2, 4, generator=generator) * 0.3)
            self.head.bias.zero_()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(ids).mean(1))


class LayerParts(FakeParts):
    def load_model(self, ref: ModelRef) -> TinyModel:
        with torch.random.fork_rng():  # a model in place of one that is read from files draws nothing
            module = Layers().eval()
        identity = super().load_model(ref).identity
        return TinyModel(module, replace(identity, digest=weights_digest(module)))


PARTS = LayerParts()


@pytest.fixture
def layers() -> ProcessCache:
    return ProcessCache(PARTS)


def planned(make_run, **changes):
    method = Component(name="lozo", params={"lr": 0.05, "epsilon": 1e-2, "rank": 2, "interval": 12})
    return make_run("lozo", method=method, perturbation="factored-lazy", **changes)


def run_row(runs, run_id):
    return read_run(runs, run_id)["runs"].to_pylist()[0]


def test_looking_at_the_weights_changes_no_bit_of_what_follows(make_run, layers, tmp_path):
    found = []
    for at in ((), (0, 10, 20, 30, 40, 50)):
        run_id = run_one(Job(planned(make_run, evaluation=Evaluation(at=at))), tmp_path, layers).run_id
        tables = read_run(tmp_path, run_id)
        found.append((run_row(tmp_path, run_id)["weights_digest"], tables["steps"]["losses"].to_pylist()))
    assert found[0] == found[1]
    curve = [m for m in tables["metrics"].to_pylist() if m["metric"] == "loss"] or tables[
        "metrics"
    ].to_pylist()
    assert len({m["value"] for m in curve}) > 1, "the evaluations look at weights that move"


@pytest.mark.parametrize("stop_after", [1, 11, 17])
def test_stopped_and_resumed_it_has_the_bits_of_an_uninterrupted_run(make_run, layers, tmp_path, stop_after):
    job = Job(planned(make_run), checkpoint_every=4)
    run_id = run_one(job, tmp_path / "a", layers).run_id
    seen: list[dict] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= stop_after)
    assert run_one(job, tmp_path / "b", layers, control).status == "interrupted"
    assert run_one(job, tmp_path / "b", layers).status == "done"
    assert bits(tmp_path / "b", run_id) == bits(tmp_path / "a", run_id)


def test_the_weights_come_back_from_the_scalars(make_run, layers, tmp_path):
    run_id = run_one(Job(planned(make_run)), tmp_path, layers).run_id
    report = replay(tmp_path / run_id, parts="test_put_off_steps:PARTS")
    assert report.matches
    assert json.loads(run_row(tmp_path, run_id)["spec"])["perturbation"] == "factored-lazy"
    assert replay(tmp_path / run_id, to=7, parts="test_put_off_steps:PARTS").digest != report.rebuilt
