"""Smoothing against adversarial patches on images, after SmoothVLM (arXiv 2405.10529), as a task.

An image is answered on ``copies`` copies in each of which floor(rate * pixels), but at least one, randomly
drawn pixels are changed: ``mask`` (to black), ``swap`` (to a uniformly drawn colour) or ``replace`` (by
another pixel of the image). The majority of all copies decides; without one, the defence abstains
(``abstain``, counted as wrong), as a model would refuse. The method is published for vision-language models
whose answers are judged to follow an injected instruction or not; here the answers are classes. The answer's
probabilities are the mean over the copies. Cost: ``copies`` forward passes per image. Training, loss and
examples are the inner task's.

Bound, for ``mask`` and ``swap``: metric ``patch_success_at_K`` is the probability that in more than half of
the copies at least K pixels of a patch of ``side`` by ``side`` pixels are drawn: the vote defeats an attack
that fails as soon as K of its pixels are drawn. How many drawn pixels an attack survives is not known, and a
copy in which the attack fails may be misclassified for other reasons; accuracy measures both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from zobench.attacks.streams import stream
from zobench.data.example import Example
from zobench.data.image import Image
from zobench.defences.certificates import defence_success, patch_broken
from zobench.defences.votes import NO_ANSWER
from zobench.defences.wrapped_images import DefendedImages, images_task
from zobench.metrics.calibration import accuracy_with_stderr
from zobench.models.base import LanguageModel
from zobench.parameters import Count, Fraction, Parameters
from zobench.tasks.base import MetricValue, Prediction

UNSTABLE = (1, 3, 5)
"""Numbers K of drawn pixels of the patch for which the bound is reported."""


@dataclass(frozen=True, kw_only=True)
class SmoothVLMConfig(Parameters):
    of: str = "mnist-5k"
    """The defended task, of kind image-classification."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of that task."""
    copies: Count = 10
    """Number of changed copies."""
    rate: Fraction = 0.2
    """Share of changed pixels, rounded down; at least one pixel if it is above 0."""
    change: Literal["mask", "swap", "replace"] = "mask"
    """Black, a uniformly drawn colour, or the colour of another pixel of the image."""
    side: Count = 5
    """Side of the patch in the bound, in pixels."""
    noise_seed: int = 0
    """Seed of the changes, together with the image itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        images_task(self.of, self.params)


class SmoothedPatches(DefendedImages):
    """The inner task, answered by majority vote over copies with changed pixels."""

    Config: ClassVar[type] = SmoothVLMConfig
    config: SmoothVLMConfig

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        config = cls.Config(**params)
        bounds = [] if config.change == "replace" else [f"patch_success_at_{k}" for k in UNSTABLE]
        return (*super().measures_with(params), "abstained", *bounds)

    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The majority's answer to each image's copies; deterministic in its pixels and the seed."""
        n = self.config.copies
        asked = [copy for e in examples for copy in self.copies(e)]
        answers = self.inner.predict(lm, asked, demonstrations)
        parts = (answers[i * n : (i + 1) * n] for i in range(len(examples)))
        return [self._vote(e, part) for e, part in zip(examples, parts, strict=True)]

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """The inner task's metrics, ``abstained``, and the bound of the module docstring."""
        n = len(predictions)
        abstained, stderr = accuracy_with_stderr([p.label is None for p in predictions])
        found = {
            **self.inner.metrics(examples, predictions),
            "abstained": MetricValue(abstained, n, stderr),
        }
        if self.config.change == "replace":
            return found
        sizes = [e.image.shape[:2] for e in examples if e.image is not None]
        for k in UNSTABLE:
            chances = [self.patch_success(height, width, k) for height, width in sizes]
            found[f"patch_success_at_{k}"] = MetricValue(sum(chances) / len(chances), len(chances))
        return found

    def patch_success(self, height: int, width: int, k: int) -> float:
        """P(at least ``k`` pixels of the patch are drawn in more than half of the copies)."""
        side = min(self.config.side, height, width)
        broken = patch_broken(height * width, side * side, self._drawn(height * width), k)
        return defence_success(broken, self.config.copies, ties=False)

    def copies(self, example: Example) -> list[Example]:
        """The changed copies, determined by the pixels and the seed alone."""
        assert example.image is not None, "an example of an image task has an image"
        seed = stream(self.config.noise_seed, "smoothvlm", example.image.digest()).getrandbits(64)
        draws = np.random.default_rng(seed)
        pixels = example.image.array()
        return [example.with_image(Image.of(self._changed(pixels, draws))) for _ in range(self.config.copies)]

    def _changed(self, pixels: np.ndarray[Any, Any], draws: np.random.Generator) -> np.ndarray[Any, Any]:
        height, width, channels = pixels.shape
        flat = pixels.reshape(-1, channels).copy()
        at = draws.choice(height * width, size=self._drawn(height * width), replace=False)
        if self.config.change == "mask":
            flat[at] = 0
        elif self.config.change == "swap":
            flat[at] = draws.integers(256, size=(len(at), channels))
        else:
            flat[at] = flat[draws.integers(height * width, size=len(at))]
        return flat.reshape(pixels.shape)

    def _drawn(self, pixels: int) -> int:
        return max(1, int(self.config.rate * pixels)) if self.config.rate else 0

    def _vote(self, example: Example, answers: Sequence[Prediction]) -> Prediction:
        logs = torch.tensor([p.log_probs for p in answers], dtype=torch.float64)
        mean = logs.logsumexp(0) - torch.tensor(float(len(answers)), dtype=torch.float64).log()
        label, count = Counter(p.label for p in answers).most_common(1)[0]
        shares = tuple(mean.tolist())
        if label is None or 2 * count <= len(answers):
            return Prediction(example.id, NO_ANSWER, False, None, shares)
        return Prediction(example.id, self.classes[label], label == example.label, label, shares)
