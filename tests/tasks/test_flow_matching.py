"""Training a flow on its own loss: the loss by hand, pictures, resume, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.data.image_sets import image_pools
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec, SpaceRef
from zobench.store.reader import read_run
from zobench.tasks.flow_matching import FlowMatching, FlowMatchingConfig
from zobench.zo import build_space

FLOW = ModelRef(name="builtin:nano-flow")
SIZE = {"steps": 2, "k": 4, "validation_k": 1, "test_rows": 6, "classes": (0, 1)}


@pytest.fixture(scope="module")
def bench() -> ProcessCache:
    return ProcessCache(CATALOGUE)


def test_the_splits_are_disjoint_and_balanced() -> None:
    task = FlowMatching(FlowMatchingConfig(**SIZE))
    splits = task.splits(1)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [8, 2, 6]
    ids = [{e.id for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert not ids[0] & ids[1]
    held = {e.id for digit in (0, 1) for e in image_pools("mnist-5k", digit)[1]}
    assert ids[2] <= held
    assert not held & (ids[0] | ids[1])
    assert {e.id for e in task.splits(2).test} == ids[2], "the same test images for all seeds"
    assert task.splits(2).test[0].meta != splits.test[0].meta, "with other noise"


def test_the_loss_is_that_of_straight_paths(bench: ProcessCache) -> None:
    lm, task = bench.model(FLOW), FlowMatching(FlowMatchingConfig(**SIZE))
    batch = task.batch(lm, task.splits(1).train[:3])
    z, x, t = (batch.inputs[n] for n in ("start", "image", "time"))
    module: Any = lm.module
    with torch.no_grad():
        for i in range(3):
            v = module.velocity(
                (1 - t[i]) * z[i : i + 1] + t[i] * x[i : i + 1],
                t[i : i + 1],
                batch.inputs["label"][i : i + 1],
            )
            expected = (v - x[i] + z[i]).square().mean()
            assert torch.allclose(task.item_losses(lm, module, batch)[i], expected, rtol=1e-4)
    assert bool(((t > 0) & (t < 1)).all())


def test_pictures_are_compared_with_those_of_the_unquantized_network(bench: ProcessCache) -> None:
    lm, task = bench.model(FLOW), FlowMatching(FlowMatchingConfig(**SIZE))
    rows = task.splits(1).test[:2]
    assert task.metrics(rows, task.predict(lm, rows))["psnr"].value == 80.0
    space = build_space("conv-scales", {"bits": 3}, lm.module)
    rounded = task.metrics(rows, task.predict(lm, rows))
    space.remove()
    assert rounded["psnr"].value < 40
    assert set(rounded) == set(task.measures)


def test_other_classes_than_the_judge_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="judged by a classifier"):
        FlowMatchingConfig(classes=(7,))


def test_a_stopped_run_of_qzo_resumes_and_replays_with_the_same_bits(
    bench: ProcessCache, tmp_path: Path
) -> None:
    spec = RunSpec(
        model=FLOW,
        task=Component(name="flow-matching", params={k: v for k, v in SIZE.items() if k != "classes"}),
        method=Component(name="qzo", params={"lr": 1e-5}),
        space=SpaceRef(kind="conv-scales", params={"bits": 4}),
        seed=1,
        budget=Budget(forwards=12, batch_size=2),
        evaluation=Evaluation(at=(0, 6), test_items=2),
    )
    job = Job(PlannedRun(row="qzo", spec=spec), "flow", checkpoint_every=2)
    run_id = run_one(job, tmp_path / "whole", bench).run_id
    seen: list[Any] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 3)
    assert run_one(job, tmp_path / "stopped", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "stopped", bench).status == "done"
    tables = [read_run(tmp_path / name, run_id) for name in ("whole", "stopped")]
    digests = [t["runs"]["weights_digest"].to_pylist() for t in tables]
    assert digests[0] == digests[1]
    losses = [t["steps"]["loss"].to_pylist() for t in tables]
    assert losses[0] == losses[1]
    assert replay(tmp_path / "whole" / run_id).matches
