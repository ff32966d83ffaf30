"""Inversion and editing with a flow: image of a run, loss and residual, metrics, refusals, runs, resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.data.image_sets import image_pools
from zobench.models import load
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec, SpaceRef
from zobench.store.reader import read_run
from zobench.suite import SuiteError, expand
from zobench.suite import load as load_suite
from zobench.tasks.flow_inversion import FlowInversion, FlowInversionConfig, class_probabilities

FLOW = ModelRef(name="builtin:nano-flow")


@pytest.fixture(scope="module")
def bench() -> ProcessCache:
    return ProcessCache(CATALOGUE)


def inversion(**params: Any) -> FlowInversion:
    return FlowInversion(FlowInversionConfig(**{"steps": 3, **params}))


def test_the_image_of_a_seed_is_a_test_image() -> None:
    task = inversion(classes=(2, 3), towards=0)
    splits = [task.splits(seed) for seed in range(8)]
    assert splits[0].digest() == task.splits(0).digest()
    assert len({s.digest() for s in splits}) > 1
    for found in splits:
        (example,) = found.test
        assert found.train == found.validation == found.test
        assert example.id in {e.id for e in image_pools("mnist-5k", example.label or 0)[1]}
        assert example.answer == str(example.label)
    edit = inversion(classes=(2, 3), towards=1).splits(0).test[0]
    assert {edit.answer, str(edit.label)} == {"2", "3"}


def test_loss_and_residual_are_those_of_the_sampled_image(bench: ProcessCache) -> None:
    lm, task = bench.model(FLOW), inversion()
    batch = task.batch(lm, task.splits(0).train)
    with torch.no_grad():
        made = lm.module(batch.inputs["start"], batch.inputs["label"], steps=3)
        loss, residual = task.residual(lm, lm.module, batch)
        assert torch.equal(residual["code"], (made - batch.inputs["image"])[0])
        assert torch.allclose(loss, residual["code"].square().sum() / 2)
        assert torch.allclose(task.loss(lm, lm.module, batch), loss)
    assert batch.tokens == 0


def test_the_inversion_is_a_better_start_than_noise(bench: ProcessCache) -> None:
    lm = bench.model(FLOW)
    found = {}
    for name in ("noise", "inversion"):
        task = inversion(steps=10, start=name)
        rows = task.splits(0).test
        predictions = task.predict(lm, rows)
        found[name] = task.metrics(rows, predictions)["psnr"].value
        assert str(predictions[0].picture).startswith("data:image/png;base64,iVBORw0KGgo")
        assert predictions[0].output == f"{found[name]:.1f} dB"
    assert found["noise"] < 20 < found["inversion"]


def test_an_edit_is_judged_by_the_classifier(bench: ProcessCache) -> None:
    task = inversion(classes=(0, 1), towards=1)
    rows = task.splits(0).test
    values = task.metrics(rows, task.predict(bench.model(FLOW), rows))
    assert set(values) == set(FlowInversion.measures_with({"towards": 1}))
    assert rows[0].image is not None
    shares = class_probabilities(rows[0].image.array()[..., 0] / 255)
    assert sum(shares) == pytest.approx(1)
    assert shares[rows[0].label or 0] > 0.5


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"classes": (1, 1)}, "different digits"),
        ({"classes": (11,)}, "from 0 to 9"),
        ({"skip": 3}, "fewer than the 3 steps"),
        ({"steps": 10**12}, "steps must be a whole number from 1 to 10000"),
        ({"corrections": 10**12}, "corrections must be a whole number from 1 to 10000"),
        ({"towards": 1}, "classifier"),
        ({"towards": 2, "classes": (0, 1)}, "fewer than the 2 classes"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        inversion(**params)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a generator of images"):
        inversion().refuse_model(load(ModelRef(name="builtin:nano-cnn")))


def planned(row: str, **params: Any) -> PlannedRun:
    spec = RunSpec(
        model=FLOW,
        task=Component(name="flow-inversion", params={"steps": 3}),
        method=Component(name=row, params=params),
        space=SpaceRef(kind="names", params={"include": ["code"]}),
        seed=1,
        budget=Budget(forwards=18, batch_size=1),
        evaluation=Evaluation(at=(0, 9), test_items=1),
    )
    return PlannedRun(row=row, spec=spec)


def test_a_stopped_run_resumes_with_the_same_bits(bench: ProcessCache, tmp_path: Path) -> None:
    job = Job(planned("flowopt", lr=0.1, pairs=2), "flow", checkpoint_every=2)
    run_id = run_one(job, tmp_path / "whole", bench).run_id
    seen: list[Any] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 5)
    assert run_one(job, tmp_path / "stopped", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "stopped", bench).status == "done"
    tables = [read_run(tmp_path / name, run_id) for name in ("whole", "stopped")]
    steps = [t["steps"].select(["loss", "extras"]).to_pylist() for t in tables]
    assert steps[0] == steps[1]
    # The run ends before a step that might cost 3 forward passes, as the first one did.
    assert len(steps[0]) == 14
    assert all("step_bound" in s["extras"] for s in steps[0])
    pictures = [t["predictions"]["picture"].to_pylist() for t in tables]
    assert pictures[0] == pictures[1]
    assert pictures[0][0].startswith("data:image/png;base64,")


@pytest.mark.parametrize(("row", "params"), [("mezo", {"lr": 1e-4}), ("sgd", {"lr": 0.1})])
def test_other_methods_lower_the_loss_on_the_code(
    row: str, params: dict[str, Any], bench: ProcessCache, tmp_path: Path
) -> None:
    outcome = run_one(Job(planned(row, **params)), tmp_path, bench)
    assert outcome.status == "done"
    losses = read_run(tmp_path, outcome.run_id)["steps"]["loss"].to_pylist()
    assert losses[-1] < losses[0]


SUITE = """
suite: flow
models: {flow: {name: "builtin:nano-flow"}, nano: {name: "builtin:nano"}}
tasks: {flow-inversion: {}, nano-topic: {}}
methods:
  flowopt: {models: [flow], tasks: [flow-inversion], space: {kind: names, params: {include: [code]}}}
  mezo: {models: [nano], tasks: [nano-topic]}
seeds: [0]
budget: {forwards: 4, batch_size: 1}
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", ""),
        ("models: [flow], tasks: [flow-inversion], ", "models: [nano], tasks: [nano-topic], ", "output of a"),
        ("models: [nano], tasks: [nano-topic]", "models: [flow], tasks: [nano-topic]", "a model of text"),
        ("models: [nano], tasks: [nano-topic]", "models: [nano]", "a model of generated images"),
        ("include: [code]", "include: [cod]", "match none"),
        (
            "seeds:",
            "attacks: {char-typos: {}}\nseeds:",
            r"attacks.char-typos: attack 'char-typos' edits texts; task 'flow-inversion' has codes of "
            r"generated images, which no attack edits; restrict the attack with 'tasks:'",
        ),
    ],
)
def test_planning_refuses_what_cannot_run(old: str, new: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace(old, new) if old else SUITE)
    if not told:
        assert len(expand(load_suite(path)).runs) == 2
        return
    with pytest.raises(SuiteError, match=told):
        load_suite(path)
