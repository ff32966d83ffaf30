"""The built-in generator: shipped files, sampler, inversion, training from scratch, gates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.models import load
from zobench.models.building import build_model, gates_of
from zobench.models.flow.build import batches
from zobench.models.flow.network import FlowConfig, FlowForImageGeneration, inverted
from zobench.models.flow.recipe import CLASSES, FLOW_RECIPE, FLOW_RECIPE_VERSION, initialise_flow
from zobench.models.inspection import problems
from zobench.models.loading import skeleton
from zobench.models.nano import path
from zobench.models.nano.build import WEIGHTS, file_digest
from zobench.spec import ModelRef

NAME = "nano-flow"


@pytest.fixture(scope="module")
def flow() -> Any:
    return load(ModelRef(name=f"builtin:{NAME}")).module


def starts(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_the_files_are_those_of_the_provenance() -> None:
    record = json.loads((path(NAME) / "PROVENANCE.json").read_text())
    assert record["digest"] == file_digest(path(NAME) / WEIGHTS)
    assert record["recipe_version"] == FLOW_RECIPE_VERSION
    assert record["steps"] == FLOW_RECIPE.schedule.steps == record["log"][-1]["step"]
    assert record["parameters"] < 1_000_000
    assert len(record["gates"]) == 3
    assert all(gate["passed"] for gate in record["gates"])
    assert (path(NAME) / WEIGHTS).stat().st_size < 4_000_000


def test_it_loads_as_a_generator_whose_code_is_zero(flow: Any) -> None:
    lm = load(ModelRef(name=f"builtin:{NAME}"))
    assert lm.architecture == "flow"
    assert lm.tokenizer is None
    assert not lm.module.code.any()
    made = skeleton(ModelRef(name=f"builtin:{NAME}"))
    assert made is not None
    assert {n: p.shape for n, p in made.named_parameters()} == {
        n: p.shape for n, p in lm.module.named_parameters()
    }
    for key, value, told in (("head", 3, "image classifiers"), ("max_length", 8, "takes images")):
        ref = ModelRef(name=f"builtin:{NAME}", **{key: value})
        assert told in problems(ref)[0]
        with pytest.raises(ValueError, match=told):
            load(ref)


def test_sampling_is_the_euler_method(flow: Any) -> None:
    labels = torch.tensor([3, 7])
    x = starts(2)
    with torch.no_grad():
        for k in range(1, 4):
            t = torch.full((2,), k / 4)
            none = flow.velocity(x, t, torch.tensor([10, 10]))
            x = x + (none + 1.5 * (flow.velocity(x, t, labels) - none)) / 4
        assert torch.equal(flow(starts(2), labels, steps=4, skip=1, guidance=1.5), x)


def test_the_code_moves_the_start() -> None:
    model = initialise_flow(0).eval()
    labels = torch.tensor([3])
    with torch.no_grad():
        expected = model(starts(1) + 0.25, labels, steps=2)
        model.code.fill_(0.25)
        assert torch.equal(model(starts(1), labels, steps=2), expected)


def test_many_corrections_invert_the_sampler_and_one_approximates_it() -> None:
    """Of the untrained network, whose steps are contractions."""
    flow: Any = initialise_flow(0).eval()
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        images = flow(starts(2), labels, steps=8)
    errors = []
    for corrections in (1, 20):
        found, cost = inverted(flow, images, labels, steps=8, corrections=corrections)
        assert cost == 1 + 8 * corrections
        errors.append(float((found - starts(2)).norm() / starts(2).norm()))
    assert errors[1] < 1e-4 < errors[0] < 0.1


def test_training_images_are_none_of_the_test_images() -> None:
    images, labels, noise, times = next(batches(FLOW_RECIPE))
    assert images.shape == noise.shape == (32, 1, 28, 28)
    assert float(images.min()) >= -1
    assert float(images.max()) <= 1
    assert set(labels.tolist()) <= set(range(CLASSES + 1))
    assert torch.equal((times * 32).floor(), torch.arange(32.0))


def test_training_is_bit_identical_and_leaves_the_random_state_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    records = [build_model(NAME, tmp_path / name, steps=2) for name in ("a", "b")]
    assert records[0]["digest"] == records[1]["digest"]
    assert torch.equal(state, torch.get_rng_state())
    assert load(ModelRef(name=str(tmp_path / "a"))).identity.parameters == records[0]["parameters"]
    with pytest.raises(ValueError, match="steps must be"):
        build_model(NAME, tmp_path / "c", steps=0)


def test_a_larger_image_is_only_a_configuration() -> None:
    model = FlowForImageGeneration(FlowConfig(side=8, classes=2, wide=8, deep=16)).eval()
    with torch.no_grad():
        made = model(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 2]), steps=2)
    assert made.shape == (3, 1, 8, 8)


@pytest.mark.slow
def test_all_gates_pass() -> None:
    results = gates_of(NAME, path(NAME))
    assert len(results) == 3
    assert not [r for r in results if not r.passed]
