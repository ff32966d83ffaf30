"""A classifier behind a denoiser, with or without an autoencoder between them (arXiv 2203.14195).

    f(d(z)),   z = e(D(x))

D is a small DnCNN (arXiv 1608.03981) that subtracts the noise it predicts; its last layer is zero at first,
so that D(x) = x. e and d are the halves of a convolutional autoencoder with a code of ``latent`` numbers;
``latent: 0`` leaves it out, and the code is then the denoised image itself. f is a ResNet of the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import ImageClassifierOutput

MODEL_TYPE = "zobench-denoised"
NARROW, DEEP = 8, 16
"""Channels of the autoencoder at a half and a quarter of the side."""


class DenoisedConfig(transformers.PretrainedConfig):
    """Side of the grey images, size of the code, channels and layers of the denoiser, configuration of f."""

    model_type: ClassVar[str] = MODEL_TYPE
    num_channels: int = 1
    side: int = 28
    latent: int = 24
    width: int = 8
    layers: int = 4
    classifier: Mapping[str, Any] | None = None


class DenoisedForImageClassification(transformers.PreTrainedModel):
    """``model(pixels)`` returns the scores of f for denoised (and encoded and decoded) images."""

    config_class = DenoisedConfig
    main_input_name = "pixel_values"

    def __init__(self, config: DenoisedConfig) -> None:
        super().__init__(config)
        self.denoiser = _denoiser(config.width, config.layers)
        self.encoder, self.decoder = _autoencoder(config.side, config.latent)
        self.black_box = transformers.ResNetForImageClassification(
            transformers.ResNetConfig(**dict(config.classifier or {}))
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's initial values and the zeros above."""

    def denoised(self, pixels: Tensor) -> Tensor:
        """D(x), of the shape of x."""
        found: Tensor = pixels - self.denoiser(pixels)
        return found

    def code(self, pixels: Tensor) -> Tensor:
        """z = e(D(x)), shape (images, m)."""
        found: Tensor = self.encoder(self.denoised(pixels))
        return found

    def behind(self, code: Tensor) -> Tensor:
        """f(d(z)): the scores of codes, shape (images, classes)."""
        found: Tensor = self.black_box(pixel_values=self.decoder(code)).logits
        return found

    def forward(self, pixel_values: Tensor) -> ImageClassifierOutput:
        return ImageClassifierOutput(logits=self.behind(self.code(pixel_values)))


def _denoiser(width: int, layers: int) -> nn.Sequential:
    """The predicted noise: 3 by 3 convolutions with ReLU between them, the last one zero at first."""
    inside = [part for _ in range(layers - 2) for part in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())]
    last = nn.Conv2d(width, 1, 3, padding=1)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), *inside, last)


def _autoencoder(side: int, latent: int) -> tuple[nn.Sequential, nn.Sequential]:
    """e and d; without a code, e flattens and d undoes it."""
    if latent == 0:
        return nn.Sequential(nn.Flatten()), nn.Sequential(nn.Unflatten(1, (1, side, side)))
    small = side // 4
    encoder = nn.Sequential(
        nn.Conv2d(1, NARROW, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(NARROW, DEEP, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(DEEP * small * small, latent),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, DEEP * small * small),
        nn.ReLU(),
        nn.Unflatten(1, (DEEP, small, small)),
        nn.ConvTranspose2d(DEEP, NARROW, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(NARROW, 1, 4, stride=2, padding=1),
    )
    return encoder, decoder


def register() -> None:
    """Make this architecture known to the library."""
    transformers.AutoConfig.register(MODEL_TYPE, DenoisedConfig, exist_ok=True)
    transformers.AutoModelForImageClassification.register(
        DenoisedConfig, DenoisedForImageClassification, exist_ok=True
    )


def initialise(config: DenoisedConfig, seed: int) -> DenoisedForImageClassification:
    """A float32 model whose weights depend on ``seed`` alone; the global random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenoisedForImageClassification(config)
