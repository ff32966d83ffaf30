"""Common base of tasks on generators of images: how an image is sampled, and who judges it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch

from zobench.data.example import Example
from zobench.data.image import Image
from zobench.data.synthetic.draw import stream
from zobench.models.base import LanguageModel
from zobench.parameters import Bounds, CountOrZero, Parameters
from zobench.tasks.base import Batch, Task

JUDGED = (0, 1, 2, 3, 4)
"""Classes of the built-in classifiers, which judge generated images."""


@dataclass(frozen=True, kw_only=True)
class Sampling(Parameters):
    """How the Euler sampler of a flow runs."""

    steps: Annotated[int, Bounds(ge=1, le=10_000)] = 10
    """Euler steps of the whole schedule."""
    skip: CountOrZero = 0
    """First (noisiest) steps that are left out."""
    guidance: Annotated[float, Bounds(ge=0)] = 1.0
    """Weight of the class against no class in sampling; 1: no guidance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skip >= self.steps:
            raise ValueError(f"skip: fewer than the {self.steps} steps, not {self.skip}")


def refuse_digits(classes: Sequence[int]) -> None:
    """``ValueError`` unless these are different digits."""
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes: different digits, not {list(classes)}")
    if not set(classes) <= set(range(10)):
        raise ValueError(f"classes: digits from 0 to 9, not {list(classes)}")


class FlowTask(Task):
    """A task whose answers are images that a flow samples from ``start`` under the classes ``label`` of a
    minibatch; its ``Config`` is a :class:`Sampling`."""

    def refuse_model(self, lm: LanguageModel) -> None:
        if lm.architecture != "flow":
            raise ValueError(
                f"{lm.identity.name} is {lm.architecture}; a task of kind {self.kind} needs a generator of "
                "images"
            )

    def sampled(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """f(z + d) for each image. Cost: one forward pass."""
        c = self.config
        made: torch.Tensor = module(
            batch.inputs["start"], batch.inputs["label"], steps=c.steps, skip=c.skip, guidance=c.guidance
        )
        return made

    def shown(self, lm: LanguageModel, examples: Sequence[Example]) -> list[Image | str]:
        """The generated images."""
        return [Image.of(p) for p in self.pixels_of(self.sampled(lm.module, self.batch(lm, examples)))]

    @staticmethod
    def pixels_of(made: torch.Tensor) -> np.ndarray[Any, Any]:
        """Generated images as they would be saved: 8 bits, shape (images, height, width); NaN is black."""
        levels = (made[:, 0].float().cpu().nan_to_num(-1.0) + 1) * 127.5
        return levels.round().clamp(0, 255).byte().numpy()


def pixels_in(lm: LanguageModel, examples: Sequence[Example]) -> torch.Tensor:
    """The examples' images in [-1, 1], shape (images, 1, height, width)."""
    images = [e.image for e in examples if e.image is not None]
    assert lm.pixels is not None, "the runner refuses models that take no images"
    return lm.pixels.tensor(images, next(lm.module.parameters()))


def noise_of(seed: int, like: torch.Tensor) -> torch.Tensor:
    """The Gaussian start of a seed, with the shape, dtype and device of ``like``."""
    number = stream(seed, "flow start").getrandbits(62)
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(number)).to(like)


def class_probabilities(pixels: np.ndarray[Any, Any]) -> list[float]:
    """Probabilities of the classes ``JUDGED`` by ``builtin:nano-cnn``, for a grey image with values in [0,
    1]."""
    lm = judge()
    assert lm.pixels is not None
    image = Image.of(np.round(pixels * 255).astype(np.uint8))
    with torch.inference_mode():
        scores = lm.module(pixel_values=lm.pixels.tensor([image], next(lm.module.parameters()))).logits
    return [float(p) for p in scores[0].double().softmax(0)]


def judge_log_probabilities(made: torch.Tensor) -> torch.Tensor:
    """The natural logarithms of :func:`class_probabilities` for images in [-1, 1] that are not rounded to 8
    bits, shape (images, classes)."""
    lm = judge()
    assert lm.pixels is not None
    levels = (made.float().cpu() + 1) / 2
    logits = lm.module(pixel_values=(levels.clamp(0, 1) - lm.pixels.mean[0]) / lm.pixels.std[0]).logits
    found: torch.Tensor = logits.log_softmax(1)
    return found


@functools.lru_cache(maxsize=1)
def judge() -> LanguageModel:
    """``builtin:nano-cnn``."""
    from zobench.models.loading import load
    from zobench.spec import ModelRef

    return load(ModelRef(name="builtin:nano-cnn"))
