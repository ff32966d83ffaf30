"""Recipes of the built-in image classifiers: architecture, data and schedule.

``nano-vit`` and ``nano-cnn`` are trained on the digits 0 to 4 of ``mnist-5k`` alone, so that the digits 5 to
9 are new to them. ``micro-cnn`` has its initial weights, for training from scratch. Any change in this file
requires a higher ``VISION_RECIPE_VERSION``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from transformers import (
    PretrainedConfig,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.modeling_utils import PreTrainedModel

from zobench.models.nano.train import Schedule

VISION_RECIPE_VERSION = 1
PRETRAINED = (0, 1, 2, 3, 4)
"""Digits of the training images."""
NEW = (5, 6, 7, 8, 9)
"""Digits that no training image shows."""
SIDE = 28
MEAN, STD = 0.1307, 0.3081
"""Mean and standard deviation of all MNIST pixels, in [0, 1]."""


Kind = Literal["vit", "cnn", "micro"]


@dataclass(frozen=True, slots=True)
class VisionRecipe:
    """One model. ``shift``: training images are moved by up to this many pixels in both directions."""

    kind: Kind
    schedule: Schedule
    batch: int = 64
    shift: int = 2
    data_seed: int = 1


VISION_RECIPES: dict[str, VisionRecipe] = {
    "nano-vit": VisionRecipe("vit", Schedule(steps=900, matrices=0.02, rest=3e-3)),
    "nano-cnn": VisionRecipe("cnn", Schedule(steps=500, matrices=0.02, rest=3e-3)),
    "micro-cnn": VisionRecipe("micro", Schedule(steps=0)),
}


def configuration(kind: Kind) -> PretrainedConfig:
    """``vit``: 4 layers of width 64, patches of 4 by 4 pixels, no dropout. ``cnn``: a ResNet with one basic
    block in each of three stages and batch normalization. ``micro``: two narrow stages for ten
    digits."""
    digits = tuple(range(10)) if kind == "micro" else PRETRAINED
    names = {position: str(digit) for position, digit in enumerate(digits)}
    if kind == "vit":
        return ViTConfig(
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=192,
            image_size=SIDE,
            patch_size=4,
            num_channels=1,
            id2label=names,
            label2id={name: position for position, name in names.items()},
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    return ResNetConfig(
        num_channels=1,
        embedding_size=8 if kind == "micro" else 16,
        hidden_sizes=[8, 16] if kind == "micro" else [16, 32, 64],
        depths=[1, 1] if kind == "micro" else [1, 1, 1],
        layer_type="basic",
        id2label=names,
        label2id={name: position for position, name in names.items()},
    )


def initialise_vision(kind: Kind, seed: int) -> PreTrainedModel:
    """A float32 model whose weights depend on ``seed`` alone; the global random state is left unchanged."""
    config = configuration(kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, ViTConfig):
            return ViTForImageClassification(config)
        assert isinstance(config, ResNetConfig)
        return ResNetForImageClassification(config)
