"""Pictures for a hidden scorer: the start code of a flow is tuned until the scorer likes the image.

    L(d) = -s(f(z + d))

f is the complete Euler sampler of a model of kind ``flow``, z the noise of the run's seed, d the model's
parameter ``code`` (zeros at first), to which the suite restricts the space:

    space: {kind: names, params: {include: [code]}}

The scorer s stands for a person. A method that only compares losses (``zo-ranksgd``, arXiv 2303.03751, where
people rank images of a diffusion model) gets no more than rankings of images from it. The scorers are
choices, because that work uses people alone:

- ``likeness``: s = -|x - y| / sqrt(pixels) / 2, y a hidden test image of mnist-5k, which gives a ground
  truth; the flow samples under y's class.
- ``class``: s = log p(wanted | x) by ``builtin:nano-cnn``; the flow samples without a class.

``score`` is 1 + s for a likeness and exp(s) for a class, in both cases at most 1. One forward pass is one
query of the scorer: one sampling of ``steps - skip`` network evaluations, twice as many under guidance.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from zobench.data.example import Example, Splits
from zobench.data.image import Image
from zobench.data.image_sets import image_pools
from zobench.data.synthetic.draw import stream
from zobench.metrics.image_quality import rmse
from zobench.models.base import LanguageModel
from zobench.parameters import Bounds
from zobench.tasks.base import Batch, MetricValue, Prediction
from zobench.tasks.flow_images import (
    JUDGED,
    FlowTask,
    Sampling,
    class_probabilities,
    judge_log_probabilities,
    noise_of,
    pixels_in,
    refuse_digits,
)

KIND = "image-scoring"


@dataclass(frozen=True, kw_only=True)
class FlowScoringConfig(Sampling):
    """Parameters of a hidden scorer."""

    scorer: Literal["likeness", "class"] = "likeness"
    """What the scorer prefers: images like a hidden one, or images of one class."""
    classes: tuple[int, ...] = JUDGED
    """Digits from which the seed draws the hidden image or the class that is wanted."""
    enough: Annotated[float, Bounds(gt=0, lt=1)] = 0.9
    """Score from which an image counts as correct."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_digits(self.classes)
        if self.scorer == "class" and not set(self.classes) <= set(JUDGED):
            raise ValueError(f"classes: the scorer of classes knows {list(JUDGED)} alone")


class FlowScoring(FlowTask):
    """See :class:`FlowScoringConfig`."""

    Config: ClassVar[type] = FlowScoringConfig
    kind: ClassVar[str] = KIND
    primary_metric: ClassVar[str] = "score"
    measures: ClassVar[tuple[str, ...]] = ("score",)
    chance = 0.0

    def __init__(self, config: FlowScoringConfig) -> None:
        self.config = config

    def splits(self, seed: int) -> Splits:
        """The hidden image of a seed, whose class is the one that is wanted; in all splits, because the code
        that is tuned belongs to it."""
        rng = stream(seed, "flow-scoring", *map(str, self.config.classes))
        digit = self.config.classes[rng.randrange(len(self.config.classes))]
        image = rng.choice(image_pools("mnist-5k", digit)[1])
        meta = {"seed": seed}
        chosen = [Example(image.id, {}, label=digit, answer=str(digit), image=image.image, meta=meta)]
        return Splits(chosen, chosen, chosen)

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """Hidden images, starts and classes. Cost: no forward pass."""
        images = pixels_in(lm, examples)
        starts = [noise_of(int(str(e.meta["seed"])), images[0]) for e in examples]
        wanted = torch.tensor([e.label or 0 for e in examples], device=lm.device)
        config: Any = lm.module.config
        no_class = int(config.classes)
        inputs = {
            "image": images,
            "start": torch.stack(starts),
            "label": wanted if self.config.scorer == "likeness" else torch.full_like(wanted, no_class),
            "wanted": wanted,
        }
        return Batch(inputs, sequences=len(examples), tokens=0)

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean of -s over the images."""
        return self.item_losses(lm, module, batch).mean()

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        made = self.sampled(module, batch)
        if self.config.scorer == "likeness":
            return (made - batch.inputs["image"]).float().square().flatten(1).mean(1).sqrt() / 2
        shares = judge_log_probabilities(made)
        return -shares.gather(1, batch.inputs["wanted"].cpu()[:, None])[:, 0]

    @torch.inference_mode()
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The generated images. ``picture``: the hidden image (for a likeness) beside what was generated;
        ``raw``: the score as JSON, of the image in 8 bits."""
        if demonstrations:
            raise ValueError(f"{lm.identity.name}: a generator of images cannot use demonstrations")
        found = []
        for example in examples:
            (pixels,) = self.pixels_of(self.sampled(lm.module, self.batch(lm, [example])))
            assert example.image is not None
            hidden = example.image.array()[..., 0]
            if self.config.scorer == "likeness":
                score, parts = 1 - rmse(hidden / 255, pixels / 255), [hidden, pixels]
            else:
                score, parts = class_probabilities(pixels / 255)[example.label or 0], [pixels]
            picture = Image.of(np.concatenate(parts, axis=1)).data_uri()
            raw, enough = json.dumps({"score": score}), score >= self.config.enough
            found.append(Prediction(example.id, f"{score:.3f}", enough, raw=raw, picture=picture))
        return found

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """``score``, the mean over the images."""
        values = [float(json.loads(p.raw)["score"]) for p in predictions]
        return {"score": MetricValue(float(np.mean(values)), len(values))}
