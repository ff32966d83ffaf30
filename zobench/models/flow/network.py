"""A small class-conditional flow-matching model (arXiv 2210.02747) and its Euler sampler.

Flow matching on straight paths: x_t = (1 - t) z + t x with Gaussian noise z and an image x; the network v is
trained on |v(x_t, t, c) - (x - z)|^2, c the class. Sampling solves dx/dt = v(x, t, c) from t = 0 (noise) to
t = 1 (image) with T Euler steps:

    x <- x + v(x, k/T, c) / T,   k = s, ..., T - 1

s > 0 skips the first steps: sampling then starts from a state at time s/T. With guidance w != 1,
v = v_none + w (v_c - v_none), at two network evaluations a step; the class ``classes`` stands for none.

The network is a U-Net of two resolutions on 2 by 2 pixel blocks. Its parameter ``code`` (zeros in the file)
is added to the start: a method that tunes this parameter alone searches the start code of the whole sampler.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

MODEL_TYPE = "zobench-flow"
EMBEDDING = 128
FREQUENCIES = 32
GROUPS = 8


class FlowConfig(transformers.PretrainedConfig):
    """Side of the grey images, number of classes, channels at the two resolutions."""

    model_type: ClassVar[str] = MODEL_TYPE
    side: int = 28
    classes: int = 10
    wide: int = 32
    deep: int = 64


class Block(nn.Module):
    """Two 3 by 3 convolutions with a skip connection; the embedding of time and class scales and shifts
    between them. The last convolution starts at zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.condition = nn.Linear(EMBEDDING, 2 * outputs)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.condition(embedded)[..., None, None].chunk(2, dim=1)
        y = self.norm2(y) * (1 + scale) + shift
        skipped: Tensor = self.skip(x)
        return skipped + self.conv2(functional.silu(y))


class FlowForImageGeneration(transformers.PreTrainedModel):
    """``model(start, labels, steps=T)`` returns images in [-1, 1] (approximately), of the shape of ``start``:
    (images, 1, side, side)."""

    config_class = FlowConfig
    main_input_name = "start"

    def __init__(self, config: FlowConfig) -> None:
        super().__init__(config)
        wide, deep = config.wide, config.deep
        self.code = nn.Parameter(torch.zeros(1, config.side, config.side))
        self.class_embed = nn.Embedding(config.classes + 1, EMBEDDING)
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING)
        )
        self.stem = nn.Conv2d(4, wide, 3, padding=1)
        self.first = Block(wide, wide)
        self.down = nn.Conv2d(wide, deep, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(Block(deep, deep) for _ in range(3))
        self.up = nn.Conv2d(deep, wide, 3, padding=1)
        self.last = Block(2 * wide, wide)
        self.norm, self.out = nn.GroupNorm(GROUPS, wide), nn.Conv2d(wide, 4, 3, padding=1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's initial values and the zeros above."""

    def velocity(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """v(x, t, c) for states (images, 1, side, side), times and classes (images,). Cost: one network
        evaluation."""
        embedded = functional.silu(self.time(waves(t)) + self.class_embed(labels))
        top = self.first(self.stem(functional.pixel_unshuffle(x, 2)), embedded)
        y = self.down(top)
        for block in self.middle:
            y = block(y, embedded)
        y = self.up(functional.interpolate(y, top.shape[-2:], mode="nearest"))
        y = self.last(torch.cat([y, top], dim=1), embedded)
        return functional.pixel_shuffle(self.out(functional.silu(self.norm(y))), 2)

    def guided(self, x: Tensor, t: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """The velocity under guidance. Cost: one network evaluation, two if guidance is not 1."""
        towards = self.velocity(x, t, labels)
        if guidance == 1.0:
            return towards
        none = self.velocity(x, t, torch.full_like(labels, self.config.classes))
        return none + guidance * (towards - none)

    def forward(
        self, start: Tensor, labels: Tensor, *, steps: int, skip: int = 0, guidance: float = 1.0
    ) -> Tensor:
        """Images by Euler steps from ``start`` + ``code``. Cost: ``steps - skip`` network evaluations, twice
        as many if guidance is not 1."""
        x = start + self.code
        for k in range(skip, steps):
            t = torch.full((len(x),), k / steps, dtype=x.dtype, device=x.device)
            x = x + self.guided(x, t, labels, guidance) / steps
        return x


def register() -> None:
    """Make this architecture known to the library."""
    transformers.AutoConfig.register(MODEL_TYPE, FlowConfig, exist_ok=True)
    transformers.AutoModel.register(FlowConfig, FlowForImageGeneration, exist_ok=True)


@torch.no_grad()
def inverted(
    model: Any, images: Tensor, labels: Tensor, *, steps: int, skip: int = 0, corrections: int = 1
) -> tuple[Tensor, int]:
    """The start of the Euler sampler for given images, from t = 1 back to t = skip / steps, and its cost in
    network evaluations.

    One Euler step x' = x + v(x, t) / T is undone by the fixed-point iteration x <- x' - v(x, t) / T. Its
    first value of v is that of the step before (predictor; one evaluation at the image starts it), and it is
    repeated ``corrections`` times. With many corrections this is the exact inverse, where the iteration
    contracts. Cost: 1 + corrections * (steps - skip).
    """
    x = images

    def at(state: Tensor, k: int) -> Tensor:
        t = torch.full((len(state),), k / steps, dtype=state.dtype, device=state.device)
        return model.velocity(state, t, labels)

    v = at(x, steps)
    for k in reversed(range(skip, steps)):
        after, x = x, x - v / steps
        for _ in range(corrections):
            v = at(x, k)
            x = after - v / steps
    return x, 1 + corrections * (steps - skip)


def waves(t: Tensor) -> Tensor:
    """Sines and cosines of the time at geometric frequencies from 1 to 1000, shape (times, 64)."""
    powers = torch.linspace(0, math.log(1000), FREQUENCIES, dtype=t.dtype, device=t.device)
    angles = t[:, None] * powers.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1)
