"""Base of defences that answer an image by votes over changed copies of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from zobench.models.base import LanguageModel
from zobench.tasks.images import KIND, ImageClassification
from zobench.tasks.wrapped import WrappedTask, made


def images_task(of: str, params: Mapping[str, Any]) -> ImageClassification:
    """The inner task; ``ValueError`` if it does not classify images."""
    inner = made(of, params)
    if not isinstance(inner, ImageClassification):
        raise ValueError(f"of: task {of!r} is of kind {inner.kind}; this defence needs one of kind {KIND}")
    return inner


class DefendedImages(WrappedTask):
    """A task of kind image-classification that delegates to another one."""

    kind: ClassVar[str] = KIND
    inner: ImageClassification

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        images_task(config.of, config.params)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in class order."""
        return self.inner.classes

    def refuse_model(self, lm: LanguageModel) -> None:
        self.inner.refuse_model(lm)
