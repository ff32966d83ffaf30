"""Randomized smoothing of an image classifier, with training under the same noise (arXiv 1902.02918).

    g(x) = the class that f returns most often for x + noise,   noise ~ N(0, sigma^2 I)

sigma and radii are in units of the range of pixel values, [0, 1], at the size of the model's input. An image
is answered by votes: ``n0`` noisy copies choose the class, ``n`` others bound its probability, with an
abstention below one half (``abstain``, counted as wrong). Metrics: those of the inner task (log-probabilities
from the shares of the votes, one added to each class), ``certified_accuracy_at_R`` for every radius, and
``abstained``. The noise is a function of the image and ``noise_seed``.

Training loss: cross-entropy of the noisy images, one draw for each minibatch, towards the label, or towards
what the black box says of the clean image (``target: prediction``, as in the authors' code of ZO-AE-DS, arXiv
2203.14195). On a model with a denoiser in front of a black box (``builtin:nano-ae-ds``) the loss has a code
for the method ``zo-ae-ds``. Cost: ``n0 + n`` forward passes of one image per example, and with ``prediction``
one per training image, once; the meter does not count either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch

from zobench.attacks.streams import stream
from zobench.data.example import Example
from zobench.defences.certificates import Certificate
from zobench.defences.denoised_smoothing import votes
from zobench.defences.votes import certificate_of, certified_metrics, certified_prediction
from zobench.defences.wrapped_images import DefendedImages, images_task
from zobench.models.base import LanguageModel
from zobench.models.denoised.network import DenoisedForImageClassification
from zobench.parameters import Bounds, Count, Parameters, Positive
from zobench.tasks.base import Batch, MetricValue, Prediction
from zobench.tasks.images import image_scores

COPIES_AT_A_TIME = 500
"""Noisy copies of one forward pass."""


@dataclass(frozen=True, kw_only=True)
class SmoothedImagesConfig(Parameters):
    of: str = "mnist-5k"
    """The defended task, of kind image-classification."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of that task."""
    sigma: Positive = 0.25
    """Standard deviation of the noise, as a share of the range of pixel values."""
    target: Literal["label", "prediction"] = "label"
    """What the training loss aims at: the label, or the black box's class of the clean image."""
    n0: Count = 100
    """Noisy copies for choosing the class."""
    n: Count = 10_000
    """Other noisy copies for bounding its probability."""
    alpha: Annotated[float, Bounds(gt=0, lt=1)] = 0.001
    """One minus the confidence of a certificate."""
    radii: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Radii at which certified accuracy is reported."""
    noise_seed: int = 0
    """Seed of the noise, together with the images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        images_task(self.of, self.params)


class SmoothedImages(DefendedImages):
    """The inner task, answered by majority vote over noisy images."""

    Config: ClassVar[type] = SmoothedImagesConfig
    config: SmoothedImagesConfig
    coded: ClassVar[bool] = True

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        config = cls.Config(**params)
        certified = [f"certified_accuracy_at_{radius:g}" for radius in config.radii]
        return (*super().measures_with(params), *certified, "abstained")

    @classmethod
    def asks_black_box(cls, params: Mapping[str, Any]) -> str:
        return "target" if cls.Config(**params).target == "prediction" else ""

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """The minibatch with noise, which depends on its images and their order."""
        clean = self.inner.batch(lm, examples)
        pixels, inputs = clean.inputs["pixels"], dict(clean.inputs)
        if self.config.target == "prediction":
            with torch.no_grad():
                inputs["gold"] = _black_box(lm.module).black_box(pixel_values=pixels).logits.argmax(1)
        noise = torch.randn(pixels.shape, generator=self._draws("minibatch", *(e.id for e in examples)))
        inputs["pixels"] = pixels + self._scale(lm, pixels) * noise.to(pixels)
        return Batch(inputs, clean.sequences, clean.tokens)

    def code(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return _black_box(module).code(batch.inputs["pixels"]).float()

    def code_losses(
        self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, points: torch.Tensor
    ) -> torch.Tensor:
        k, rows, _ = points.shape
        scores = _black_box(module).behind(points.flatten(0, 1)).float()
        gold = batch.inputs["gold"].repeat(k)
        return torch.nn.functional.cross_entropy(scores, gold, reduction="none").reshape(k, rows)

    @torch.inference_mode()
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The certified class of each image; deterministic in its pixels and the seed."""
        if demonstrations:
            raise ValueError(f"{lm.identity.name}: an image classifier cannot use in-context demonstrations")
        return [self._answer(lm, e) for e in examples]

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """The metrics of the module docstring."""
        found = [self.certificate_of(p) for p in predictions]
        inner = self.inner.metrics(examples, predictions)
        return {**inner, **certified_metrics(examples, found, self.config.radii)}

    def certificate_of(self, prediction: Prediction) -> Certificate:
        """The certificate of a prediction, recomputed from the shares of its votes."""
        c = self.config
        return certificate_of(prediction, n=c.n, sigma=c.sigma, alpha=c.alpha)

    def _answer(self, lm: LanguageModel, example: Example) -> Prediction:
        c = self.config
        pixels = self.inner.batch(lm, [example]).inputs["pixels"][0]
        scale = self._scale(lm, pixels)[0]

        def scores(noise: torch.Tensor) -> torch.Tensor:
            parts = noise.reshape(-1, *pixels.shape).split(COPIES_AT_A_TIME)
            found = [image_scores(lm.module, pixels + scale * part.to(pixels)).cpu() for part in parts]
            return torch.cat(found)

        assert example.image is not None, "an example of an image task has an image"
        counts = votes(
            scores,
            torch.zeros(pixels.numel()),
            sigma=1.0,
            classes=len(self.classes),
            n0=c.n0,
            n=c.n,
            draws=self._draws("votes", example.image.digest()),
        )
        return certified_prediction(example, counts, self.classes, sigma=c.sigma, alpha=c.alpha)

    def _scale(self, lm: LanguageModel, pixels: torch.Tensor) -> torch.Tensor:
        """sigma in the units of the model's input, shape (1, channels, 1, 1)."""
        assert lm.pixels is not None, "the runner refuses models that take no images"
        return self.config.sigma / torch.tensor(lm.pixels.std).to(pixels)[None, :, None, None]

    def _draws(self, *names: str) -> torch.Generator:
        seed = stream(self.config.noise_seed, "smoothed-images", *names).getrandbits(62)
        return torch.Generator().manual_seed(seed)


def _black_box(module: torch.nn.Module) -> DenoisedForImageClassification:
    """The module as one with a denoiser in front of a black box; ``ValueError`` if it is none."""
    if not isinstance(module, DenoisedForImageClassification):
        raise ValueError(
            f"{type(module).__name__} has no denoiser in front of a black box, which zo-ae-ds and 'target: "
            "prediction' need; use a model such as builtin:nano-ae-ds"
        )
    return module
