"""From images to the input of an image classifier, and a new classification layer for it.

x = (p / 255 - mean) / std for each channel, p the 8-bit pixels, resized to the model's input if they have
another size. Mean, standard deviation and size come from the model's ``preprocessor_config.json`` and
``config.json``. Differences from the preprocessing of the libraries: resizing is bilinear with antialiasing
for every model, to the whole input without cropping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zobench.data.image import Image
from zobench.names import json_value

PREPROCESSOR = "preprocessor_config.json"
TIMM = "timm_wrapper"
"""The library's model type of a folder that timm wrote, and of one that wraps a model of timm."""
_LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the grey value (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True)
class PixelInput:
    """Attributes:
    size: (height, width) of the input; ``None``: images keep theirs.
    mean, std: one value per channel.
    """

    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        return len(self.mean)

    def tensor(self, images: Sequence[Image], like: torch.Tensor) -> torch.Tensor:
        """Input of shape (images, channels, height, width), with the device and dtype of ``like``.

        Raises:
            ValueError: the images have different sizes and the model has no input size of its own.
        """
        whole = [self._resized(self._channels(image)) for image in images]
        sizes = sorted({tuple(values.shape[1:]) for values in whole})
        if len(sizes) > 1:
            raise ValueError(f"images of different sizes {sizes[:3]}, and the model has no fixed input size")
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        return ((torch.stack(whole) - mean) / std).to(device=like.device, dtype=like.dtype)

    def _channels(self, image: Image) -> torch.Tensor:
        """Values in [0, 1], shape (channels, height, width): grey is repeated, RGB weighted by luminance."""
        values = torch.from_numpy(image.array().astype(np.float32)).permute(2, 0, 1) / 255
        if len(values) == self.channels:
            return values
        if self.channels == 1:
            return (values * torch.tensor(_LUMINANCE)[:, None, None]).sum(0, keepdim=True)
        return values.expand(self.channels, -1, -1)

    def _resized(self, values: torch.Tensor) -> torch.Tensor:
        if self.size is None or tuple(values.shape[1:]) == self.size:
            return values
        return nn.functional.interpolate(
            values[None], self.size, mode="bilinear", antialias=True, align_corners=False
        )[0]


SYMMETRIC = PixelInput(None, (0.5,), (0.5,))
"""Grey pixels from -1 to 1, for generators of images."""


def pixel_input(folder: Path, config: Any, side: int | None = None) -> PixelInput:
    """The input of the model in ``folder``; without a preprocessor file mean and std are 0.5, as for ViT.

    ``side``: height and width of the input in place of the model's own, for models that take any size.

    Raises:
        ValueError: the file does not fit the model's number of channels, or the model takes one size only.
    """
    file = folder / PREPROCESSOR
    given: Mapping[str, Any] = json_value(file.read_text(encoding="utf-8")) if file.is_file() else {}
    settings = config.to_dict()
    if config.model_type == TIMM:
        given, settings = _of_timm(settings)
    channels = int(settings.get("num_channels") or 3)
    plain = given.get("do_normalize") is False
    mean = _per_channel(given.get("image_mean"), channels, 0.0 if plain else 0.5, file)
    std = _per_channel(given.get("image_std"), channels, 1.0 if plain else 0.5, file)
    fixed = _size(settings.get("image_size"))
    if side is not None and fixed not in (None, (side, side)):
        raise ValueError(
            f"{folder}: takes images of {fixed[1]} by {fixed[0]} pixels only; leave out image_size"
        )
    size = _size(side) or fixed or _size(given.get("crop_size")) or _size(given.get("size"))
    return PixelInput(size, mean, std)


def _of_timm(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Preprocessor and settings in the library's names, from the configuration that timm writes.

    Three means become their mean for a model of one channel, as in timm. A size is the only one the model
    takes if timm says so (``fixed_input_size``); else it is the one it was trained with.
    """
    trained, made = settings.get("pretrained_cfg") or {}, settings.get("model_args") or {}
    shape = trained.get("input_size") or (3, 224, 224)
    channels = int(made.get("in_chans") or shape[0])
    size = made.get("img_size") or list(shape[1:])
    given: dict[str, Any] = {"size": size}
    for ours, theirs in (("image_mean", "mean"), ("image_std", "std")):
        values = trained.get(theirs)
        if values is not None and len(values) != channels:
            values = [sum(values) / len(values)] * channels
        given[ours] = values
    fixed = {"image_size": size} if trained.get("fixed_input_size") else {}
    return given, {"num_channels": channels, **fixed}


def _per_channel(given: Any, channels: int, default: float, file: Path) -> tuple[float, ...]:
    values = [default] * channels if given is None else [given] if isinstance(given, int | float) else given
    if len(values) != channels:
        raise ValueError(f"{file}: {len(values)} values for {channels} channels")
    return tuple(map(float, values))


def _size(given: Any) -> tuple[int, int] | None:
    """(height, width) of a side length, a pair, or a mapping of the library."""
    if isinstance(given, Mapping):
        both = given.get("height"), given.get("width")
        return _size(both if None not in both else given.get("shortest_edge"))
    if isinstance(given, int):
        return given, given
    if isinstance(given, list | tuple) and len(given) == 2:
        return int(given[0]), int(given[1])
    return None


def outputs_of(module: nn.Module) -> int:
    """Number of outputs of the classification layer; ``ValueError`` if the model has none."""
    return _head(module)[1].out_features


def new_head(module: nn.Module, outputs: int) -> None:
    """Replace the classification layer by one with ``outputs`` outputs.

    Its weights and bias are 0, as in the fine-tuning of ViT (arXiv 2010.11929, section 3.2). ``ValueError``
    if the model has no linear classification layer."""
    name, old = _head(module)
    made = nn.utils.skip_init(
        nn.Linear, old.in_features, outputs, device=old.weight.device, dtype=old.weight.dtype
    )
    with torch.no_grad():
        made.weight.zero_()
        made.bias.zero_()
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, made)


def _head(module: nn.Module) -> tuple[str, nn.Linear]:
    """Name and layer: the last linear layer of the module."""
    layers = [(n, part) for n, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise ValueError(f"{type(module).__name__} has no linear classification layer")
    return layers[-1]
