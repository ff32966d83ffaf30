"""The built-in classifiers behind a denoiser: shipped files, recipe, parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.models import load
from zobench.models.building import build_model, gates_of
from zobench.models.denoised.build import RECIPE_VERSION, SCHEDULE
from zobench.models.loading import skeleton
from zobench.models.nano import DENOISED, path
from zobench.models.nano.build import WEIGHTS, file_digest
from zobench.spec import ModelRef


@pytest.mark.parametrize("name", DENOISED)
def test_the_files_are_those_of_the_provenance(name: str) -> None:
    record = json.loads((path(name) / "PROVENANCE.json").read_text())
    black_box = json.loads((path("nano-cnn") / "PROVENANCE.json").read_text())
    lm = load(ModelRef(name=f"builtin:{name}"))
    assert lm.architecture == "image"
    assert record["digest"] == file_digest(path(name) / WEIGHTS)
    assert record["recipe_version"] == RECIPE_VERSION
    assert record["steps"] == (SCHEDULE.steps if name == "nano-ae-ds" else 0)
    assert record["parameters"] == sum(p.numel() for p in lm.module.parameters())
    assert all(gate["passed"] for gate in record["gates"])
    assert len(record["gates"]) == (2 if name == "nano-ae-ds" else 1)
    assert record["black_box"]["name"] == black_box["name"]
    whole: Any = lm.module
    theirs = load(ModelRef(name="builtin:nano-cnn")).module.state_dict()
    assert all(torch.equal(value, theirs[n]) for n, value in whole.black_box.state_dict().items())
    made = skeleton(ModelRef(name=f"builtin:{name}"))
    assert made is not None
    assert {n: p.shape for n, p in made.named_parameters()} == {
        n: p.shape for n, p in lm.module.named_parameters()
    }


def test_the_code_is_between_encoder_and_decoder() -> None:
    module: Any = load(ModelRef(name="builtin:nano-ae-ds")).module
    x = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = module.code(x)
        assert z.shape == (3, module.config.latent) == (3, 24)
        assert torch.equal(module(pixel_values=x).logits, module.behind(z))
        assert torch.equal(module.denoised(x), x)
        assert module.behind(z).shape == (3, 5)


@pytest.mark.slow
def test_building_is_deterministic_and_gates_are_measured(tmp_path: Path) -> None:
    records = [build_model("nano-ae-ds", tmp_path / name, steps=2) for name in ("a", "b")]
    assert records[0]["digest"] == records[1]["digest"]
    first, second = gates_of("nano-ae-ds", tmp_path / "a")
    assert not first.passed
    assert not second.passed
