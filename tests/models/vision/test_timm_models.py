"""Folders that timm writes: their preprocessing and, with the package, timm's own outputs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zobench.models import load
from zobench.models.inspection import problems
from zobench.models.pixels import TIMM, PixelInput, pixel_input
from zobench.spec import ModelRef

TRAINED = {"input_size": [3, 176, 160], "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}


def configured(**settings: Any) -> Any:
    return SimpleNamespace(model_type=TIMM, to_dict=lambda: {"architecture": "resnet10t", **settings})


def test_preprocessing_is_read_from_what_timm_writes(tmp_path: Path) -> None:
    found = pixel_input(tmp_path, configured(pretrained_cfg=TRAINED))
    assert found == PixelInput((176, 160), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    grey = pixel_input(tmp_path, configured(pretrained_cfg=TRAINED, model_args={"in_chans": 1}))
    assert (grey.channels, *grey.mean, *grey.std) == (1, pytest.approx(0.5), pytest.approx(0.2))
    small = pixel_input(tmp_path, configured(pretrained_cfg=TRAINED, model_args={"img_size": 64}))
    assert small.size == (64, 64)


def test_a_size_that_the_model_does_not_take_is_refused(tmp_path: Path) -> None:
    free, fixed = (configured(pretrained_cfg={**TRAINED, "fixed_input_size": f}) for f in (False, True))
    assert pixel_input(tmp_path, free, side=32).size == (32, 32)
    with pytest.raises(ValueError, match="takes images of 160 by 176 pixels only"):
        pixel_input(tmp_path, fixed, side=32)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_without_the_package_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "resnet10t", "pretrained_cfg": TRAINED})
    )
    (tmp_path / "model.safetensors").write_bytes(b"")
    (told,) = problems(ModelRef(name=str(tmp_path)))
    assert str(tmp_path) in told
    assert "pip install timm" in told


@pytest.mark.parametrize(
    ("name", "settings"),
    [("resnet10t", {}), ("resnet10t", {"in_chans": 1}), ("vit_tiny_patch16_224", {"img_size": 64})],
)
def test_a_folder_of_timm_has_the_outputs_of_timm(
    tmp_path: Path, name: str, settings: dict[str, int]
) -> None:
    timm = pytest.importorskip("timm")
    module = timm.create_model(name, num_classes=10, **settings).eval()
    timm.models.save_for_hf(module, tmp_path, model_args=settings, safe_serialization=True)
    lm = load(ModelRef(name=str(tmp_path)))
    assert lm.architecture == "image"
    assert lm.pixels is not None
    x = torch.randn(2, lm.pixels.channels, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(lm.module(pixel_values=x).logits, module(x))
        assert load(ModelRef(name=str(tmp_path), head=4)).module(pixel_values=x).logits.shape == (2, 4)
