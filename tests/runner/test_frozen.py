"""A method that changes weights outside the tuned space gives no result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from runner_fakes import FakeParts, Nine, NineConfig
from torch import nn

from zobench.runner.execute import Control, run_one
from zobench.runner.frozen import PIECE, STEPS_BETWEEN_LOOKS, FrozenWeights, FrozenWeightsMoved
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, SpaceRef
from zobench.store.reader import read_run
from zobench.zo.space import build_space

BIAS = SpaceRef(kind="bias")


@dataclass(frozen=True)
class ThiefConfig(NineConfig):
    """``at``: the step that moves one entry of ``what``; -1: when the method is built."""

    what: str = "embedding"
    at: int = 2
    entry: int = 7


class Thief(Nine):
    Config = ThiefConfig

    def __init__(self, config, space, *, seed):
        super().__init__(config, space, seed=seed)
        if config.at < 0:
            self._move()

    def _move(self):
        with torch.no_grad():
            self.space.module.get_parameter(self.config.what).view(-1)[self.config.entry] += 1e-3

    def step(self, objective):
        if self.t == self.config.at:
            self._move()
        return super().step(objective)


class Parts(FakeParts):
    def method(self, name):
        return Thief if name == "thief" else super().method(name)


@pytest.fixture
def steal(tmp_path: Path, make_run):
    bench = ProcessCache(Parts())

    def run(space=BIAS, control=None, every=100, forwards=60, **params):
        method = Component(name="thief", params=params)
        planned = make_run(method=method, space=space, budget=Budget(forwards=forwards, batch_size=8))
        job = Job(planned, "tiny", checkpoint_every=every)
        outcome = run_one(job, tmp_path / "runs", bench, control)
        return outcome, read_run(tmp_path / "runs", outcome.run_id)["runs"].to_pylist()[0]

    return run


@pytest.mark.parametrize("at", [-1, 0, 2, 5])
def test_the_run_fails_and_names_what_moved(steal, at):
    outcome, row = steal(at=at)
    assert outcome.status == row["status"] == "failed"
    assert "method 'thief' changed weights outside the tuned space 'bias': 'embedding'" in outcome.error
    assert "FrozenWeightsMoved" in row["error"]


def test_a_method_that_keeps_to_its_space_is_done(steal):
    assert steal(at=1000)[0].status == "done"
    assert steal(what="bias", entry=0)[0].status == "done"
    assert steal(space=SpaceRef())[0].status == "done", "everything is tuned"


def test_entries_of_a_mask_are_told_from_the_others(steal):
    space = SpaceRef(kind="masked", params={"indices": {"embedding": [3, 7, 90]}})
    assert steal(space=space, entry=7)[0].status == "done"
    outcome, _ = steal(space=space, entry=8)
    assert outcome.status == "failed"
    assert "'masked': 'embedding'" in outcome.error


def test_a_change_is_seen_while_training_goes_on(steal):
    """9 forwards a step: of 200 steps the looks after step 16, 32 ... go around the two frozen tensors."""
    outcome, _ = steal(at=0, forwards=1800)
    assert "seen after step" in outcome.error
    assert int(outcome.error.split("seen after step ")[1].rstrip(")")) < 3 * STEPS_BETWEEN_LOOKS


def test_an_interrupted_run_does_not_hide_it(steal):
    """The method acts once, in step 2; a run resumed from a checkpoint would never see it again."""
    asked = iter([False] * 4 + [True] * 100)
    outcome, _ = steal(at=2, control=Control(should_stop=lambda: next(asked)))
    assert outcome.status == "failed"
    outcome, _ = steal(at=2, every=3)
    assert outcome.status == "failed"
    asked = iter([False] * 5 + [True] * 100)
    outcome, _ = steal(at=4, every=3, control=Control(should_stop=lambda: next(asked)))
    assert outcome.status == "failed", "after the first checkpoint"


def test_the_end_of_training_sees_what_came_after_the_checkpoints(steal):
    """Six steps, the last checkpoint after the third, the change in the last step."""
    outcome, _ = steal(at=5, every=3)
    assert outcome.status == "failed"


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.linear = nn.Linear(4, 4)
        self.register_buffer("codes", torch.arange(PIECE + 5).to(torch.int8))
        self.register_buffer("angles", torch.ones(3), persistent=False)


def watched(kind="bias", **params):
    module = Buffers()
    space = build_space(kind, params, module)
    return module, space, FrozenWeights(space, "m")


def test_buffers_that_are_saved_count_and_running_statistics_do_not():
    module, _, frozen = watched()
    module.norm.train()(torch.randn(8, 4))
    module.angles += 1
    frozen.check()
    module.codes[-1] += 1
    with pytest.raises(FrozenWeightsMoved, match="'codes'"):
        frozen.check()


def test_every_piece_is_looked_at_in_turn():
    module, _, frozen = watched()
    module.codes[-1] += 1
    seen = []
    for i in range(10):
        try:
            frozen.look(i * STEPS_BETWEEN_LOOKS)
        except FrozenWeightsMoved as error:
            seen.append(str(error))
    assert seen
    assert len(seen) < 10, "one piece at a time"
    assert all("'codes'" in text for text in seen)


def test_added_exchanged_and_retyped_tensors_are_named():
    module, _, frozen = watched()
    module.linear.weight = nn.Parameter(module.linear.weight.detach().clone())
    frozen.check()
    module.linear.weight = nn.Parameter(module.linear.weight.detach().double())
    module.extra = nn.Parameter(torch.ones(2))
    with pytest.raises(FrozenWeightsMoved, match=r"'extra', 'linear\.weight' \(2 of"):
        frozen.check()


@pytest.mark.parametrize(("kind", "params"), [("scales", {}), ("lora", {"r": 2, "targets": ["linear"]})])
def test_what_a_space_adds_is_part_of_it(kind, params):
    module, space, frozen = watched(kind, **params)
    for name in space:
        space.put_(name, space.entries(name) + 1)
    frozen.check()
    changed = next(n for n in module.state_dict() if n.endswith(("codes", "linear.weight", "original")))
    module.state_dict()[changed].add_(1)
    with pytest.raises(FrozenWeightsMoved, match=changed.rpartition(".")[2]):
        frozen.check()
