"""Inversion and editing of an image with a flow: the start code of the sampler is tuned (arXiv 2510.22010).

    L(d) = 1/2 |f(z + d) - y|^2

f is the complete Euler sampler of a model of kind ``flow`` under a class c, y the image in [-1, 1], z a fixed
start, d the model's parameter ``code`` (zeros at first), to which the suite restricts the space:

    space: {kind: names, params: {include: [code]}}

*Inversion*: c is the image's class; f(z + d) should become the image. *Editing* (``towards`` n > 0): c is the
n-th class after it, and every iterate is an edit: the first ones show the new class, later ones the image;
the number of steps chooses between them. z is the plain inversion of the flow's differential equation under
the image's class (``start: inversion``, :func:`zobench.models.flow.network.inverted`), or noise of the seed.

A run has one image, drawn by its seed from the test images of mnist-5k: training, validation and test are
this image, because what is tuned belongs to it; tuning trials use the images of other seeds. The generator
has never seen it.

One forward pass is one sampling: ``steps - skip`` network evaluations, twice as many under guidance. The
start costs 1 + ``corrections`` * (``steps - skip``) evaluations, once, which all methods share and the meter
does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from zobench.data.example import Example, Splits
from zobench.data.image import Image
from zobench.data.image_sets import image_pools
from zobench.data.synthetic.draw import stream
from zobench.metrics.image_quality import psnr, rmse, ssim
from zobench.models.base import LanguageModel
from zobench.models.flow.network import inverted
from zobench.parameters import Bounds, CountOrZero, Positive
from zobench.tasks.base import Batch, MetricValue, Prediction
from zobench.tasks.flow_images import (
    JUDGED,
    FlowTask,
    Sampling,
    class_probabilities,
    noise_of,
    pixels_in,
    refuse_digits,
)

KIND = "image-generation"
CODE = "code"
MOST_PSNR = 80.0


@dataclass(frozen=True, kw_only=True)
class FlowInversionConfig(Sampling):
    """Parameters of inversion and editing."""

    classes: tuple[int, ...] = tuple(range(10))
    """Digits from which a run's image is drawn; an edit leads from one to a later one, cyclically."""
    towards: CountOrZero = 0
    """0: inversion; n: editing towards the n-th class after the image's, in the order of ``classes``."""
    start: Literal["inversion", "noise"] = "inversion"
    """Start code: plain inversion of the image, or noise of the seed."""
    corrections: Annotated[int, Bounds(ge=1, le=10_000)] = 1
    """Corrections per step of the plain inversion."""
    close: Positive = 20.0
    """PSNR in decibels from which an inversion counts as correct."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_digits(self.classes)
        if self.towards and not set(self.classes) <= set(JUDGED):
            raise ValueError(f"towards: edits are judged by a classifier of {list(JUDGED)} alone")
        if self.towards >= len(self.classes):
            raise ValueError(f"towards: fewer than the {len(self.classes)} classes, not {self.towards}")


class FlowInversion(FlowTask):
    """See :class:`FlowInversionConfig`."""

    Config: ClassVar[type] = FlowInversionConfig
    kind: ClassVar[str] = KIND
    primary_metric: ClassVar[str] = "psnr"

    def __init__(self, config: FlowInversionConfig) -> None:
        self.config = config
        self._starts: dict[tuple[str, str], torch.Tensor] = {}

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        edits = ("target_probability", "source_probability") if params.get("towards") else ()
        return ("psnr", "ssim", "rmse", *edits)

    def splits(self, seed: int) -> Splits:
        """The image of a seed; see the module's text for why it is in all splits."""
        rng = stream(seed, "flow-inversion", *map(str, self.config.classes))
        place = rng.randrange(len(self.config.classes))
        digit = self.config.classes[place]
        image = rng.choice(image_pools("mnist-5k", digit)[1])
        to = self.config.classes[(place + self.config.towards) % len(self.config.classes)]
        meta = {"seed": seed, "to": to}
        chosen = [Example(image.id, {}, label=digit, answer=str(to), image=image.image, meta=meta)]
        return Splits(chosen, chosen, chosen)

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """Targets, starts and classes. Cost: no forward pass; the start is computed once per image."""
        inputs = {
            "image": pixels_in(lm, examples),
            "start": torch.stack([self._start(lm, e) for e in examples]),
            "label": torch.tensor([int(e.answer or 0) for e in examples], device=lm.device),
        }
        return Batch(inputs, sequences=len(examples), tokens=0)

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean over the images of half the squared distance."""
        return self.item_losses(lm, module, batch).mean()

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        difference = (self.sampled(module, batch) - batch.inputs["image"]).float()
        return difference.square().flatten(1).sum(1) / 2

    def residual(
        self, lm: LanguageModel, module: torch.nn.Module, batch: Batch
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        difference = (self.sampled(module, batch) - batch.inputs["image"]).float()
        loss = difference.square().flatten(1).sum(1).mean() / 2
        return loss, {CODE: difference.mean(0)}

    @torch.inference_mode()
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The generated images. ``picture``: the image and what was generated, side by side; ``raw``: the
        measures of :meth:`metrics` as JSON."""
        if demonstrations:
            raise ValueError(f"{lm.identity.name}: a generator of images cannot use demonstrations")
        found = []
        for example in examples:
            (pixels,) = self.pixels_of(self.sampled(lm.module, self.batch(lm, [example])))
            assert example.image is not None
            target = example.image.array()[..., 0]
            values = self._measured(example, target / 255, pixels / 255)
            both = Image.of(np.concatenate([target, pixels], axis=1)).data_uri()
            said, close = f"{values['psnr']:.1f} dB", values["psnr"] >= self.config.close
            found.append(Prediction(example.id, said, close, raw=json.dumps(values), picture=both))
        return found

    def _measured(
        self, example: Example, target: np.ndarray[Any, Any], made: np.ndarray[Any, Any]
    ) -> dict[str, float]:
        # The PSNR of equal images is infinite; one level of 8 bits in one pixel gives 77 dB.
        values = {
            "psnr": min(psnr(target, made), MOST_PSNR),
            "ssim": ssim(target, made),
            "rmse": rmse(target, made),
        }
        if self.config.towards:
            shares = class_probabilities(made)
            values["target_probability"] = shares[int(example.answer or 0)]
            values["source_probability"] = shares[example.label or 0]
        return values

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """``psnr``, ``ssim`` and ``rmse`` against the image, means over the images; for edits also the
        probabilities of the new and the old class by the built-in classifier."""
        found = [json.loads(p.raw) for p in predictions]
        names = self.measures_with({"towards": self.config.towards})
        return {n: MetricValue(float(np.mean([values[n] for values in found])), len(found)) for n in names}

    @torch.inference_mode(False)
    @torch.no_grad()
    def _start(self, lm: LanguageModel, example: Example) -> torch.Tensor:
        c, key = self.config, (lm.identity.digest, f"{example.id} {example.meta['seed']}")
        if key not in self._starts:
            image = pixels_in(lm, [example])
            if c.start == "noise":
                self._starts[key] = noise_of(int(str(example.meta["seed"])), image[0])
            else:
                label = torch.tensor([example.label], device=lm.device)
                found, _ = inverted(
                    lm.module, image, label, steps=c.steps, skip=c.skip, corrections=c.corrections
                )
                self._starts[key] = found[0]
        return self._starts[key]
