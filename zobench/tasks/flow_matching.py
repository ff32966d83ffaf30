"""Training a generator of images on its own loss, for instance after its weights were quantized.

    L(theta) = mean over the images x of |v(x_t, t, c) - (x - z)|^2,   x_t = (1 - t) z + t x

(flow matching on straight paths, arXiv 2210.02747), c the image's class. Noise z and time t are fixed for
each image and seed, so that all points of a step compare the same; times are uniform. Training and validation
images are those of mnist-5k that the built-in generator was trained on, test images are held out.

A test image stands for a start: the seed's noise for it, sampled under its class by the tuned network and by
the network as it is loaded, without quantization. ``psnr`` compares the two pictures.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from zobench.data.example import Example, Splits
from zobench.data.image import Image
from zobench.data.image_sets import image_pools
from zobench.data.synthetic.draw import stream
from zobench.metrics.image_quality import psnr
from zobench.models.base import LanguageModel
from zobench.parameters import Count, Positive
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
from zobench.tasks.flow_inversion import KIND, MOST_PSNR


@dataclass(frozen=True, kw_only=True)
class FlowMatchingConfig(Sampling):
    """Parameters of training a flow; ``steps``, ``skip`` and ``guidance`` are those of the pictures."""

    classes: tuple[int, ...] = JUDGED
    """Digits of the images; the built-in classifier, which judges the pictures, knows 0 to 4."""
    k: Count = 100
    """Training images per class."""
    validation_k: Count = 20
    """Validation images per class."""
    test_rows: Count = 50
    """Test images of all classes together."""
    close: Positive = 20.0
    """PSNR in decibels from which a picture counts as that of the unquantized network."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_digits(self.classes)
        if not set(self.classes) <= set(JUDGED):
            raise ValueError(f"classes: pictures are judged by a classifier of {list(JUDGED)} alone")


class FlowMatching(FlowTask):
    """See :class:`FlowMatchingConfig`."""

    Config: ClassVar[type] = FlowMatchingConfig
    kind: ClassVar[str] = KIND
    primary_metric: ClassVar[str] = "psnr"
    measures: ClassVar[tuple[str, ...]] = ("psnr", "velocity_loss", "class_probability")

    def __init__(self, config: FlowMatchingConfig) -> None:
        self.config = config

    def splits(self, seed: int) -> Splits:
        """Images of a seed, the classes in turn."""
        c = self.config
        parts: tuple[list[list[Example]], ...] = ([], [], [])
        for digit in c.classes:
            pool, held = image_pools("mnist-5k", digit)
            drawn = stream(seed, "flow-matching", str(digit)).sample(
                pool, min(len(pool), c.k + c.validation_k)
            )
            fixed = stream(0, "flow-matching test", str(digit)).sample(held, len(held))
            each = -(-c.test_rows // len(c.classes))
            for part, chosen in zip(parts, (drawn[: c.k], drawn[c.k :], fixed[:each]), strict=True):
                part.append([_of_seed(example, seed) for example in chosen])
        train, validation, test = ([e for row in zip(*part, strict=True) for e in row] for part in parts)
        return Splits(train, validation, test[: c.test_rows])

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """Images, noise, times and classes. Cost: no forward pass."""
        images = pixels_in(lm, examples)
        numbers = [int(str(e.meta["noise"])) for e in examples]
        times = [stream(n, "flow time").random() for n in numbers]
        inputs = {
            "image": images,
            "start": torch.stack([noise_of(n, images[0]) for n in numbers]),
            "time": torch.tensor(times, dtype=images.dtype, device=lm.device),
            "label": torch.tensor([e.label or 0 for e in examples], device=lm.device),
        }
        return Batch(inputs, sequences=len(examples), tokens=0)

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The mean over the images. Cost: one forward pass, which is one network evaluation."""
        return self.item_losses(lm, module, batch).mean()

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        x, z, times = (batch.inputs[name] for name in ("image", "start", "time"))
        t = times[:, None, None, None]
        flow: Any = module
        velocity: torch.Tensor = flow.velocity((1 - t) * z + t * x, times, batch.inputs["label"])
        return (velocity - (x - z)).float().square().flatten(1).mean(1)

    @torch.inference_mode()
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """``picture``: what the unquantized network makes of a start, beside what the tuned one makes;
        ``raw``: the measures of :meth:`metrics` as JSON."""
        if demonstrations:
            raise ValueError(f"{lm.identity.name}: a generator of images cannot use demonstrations")
        original, found = _as_loaded(lm.identity.name, lm.identity.revision), []
        for example in examples:
            batch = self.batch(lm, [example])
            (made,) = self.pixels_of(self.sampled(lm.module, batch))
            (whole,) = self.pixels_of(self.sampled(original, batch))
            values = {
                "psnr": min(psnr(whole / 255, made / 255), MOST_PSNR),
                "velocity_loss": float(self.loss(lm, lm.module, batch)),
                "class_probability": class_probabilities(made / 255)[example.label or 0],
            }
            both = Image.of(np.concatenate([whole, made], axis=1)).data_uri()
            said, close = f"{values['psnr']:.1f} dB", values["psnr"] >= self.config.close
            found.append(Prediction(example.id, said, close, raw=json.dumps(values), picture=both))
        return found

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """``psnr`` against the pictures of the unquantized network; ``velocity_loss``, the training loss on
        these images; ``class_probability`` of the pictures by the built-in classifier. Means over the
        images."""
        found = [json.loads(p.raw) for p in predictions]
        return {n: MetricValue(float(np.mean([v[n] for v in found])), len(found)) for n in self.measures}


def _of_seed(example: Example, seed: int) -> Example:
    """The example with the number of its noise."""
    number = stream(seed, "flow noise", example.id).getrandbits(62)
    meta = {**example.meta, "noise": number}
    return Example(
        example.id, {}, label=example.label, answer=str(example.label), image=example.image, meta=meta
    )


@functools.lru_cache(maxsize=1)
def _as_loaded(name: str, revision: str | None) -> torch.nn.Module:
    from zobench.models.loading import load
    from zobench.spec import ModelRef

    return load(ModelRef(name=name, revision=revision)).module
