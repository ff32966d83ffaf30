"""The example, the record that data, tasks and attacks exchange.

An :class:`Example` has named text fields (an attack edits exactly one of them) and a gold label or gold
answer; an example of an image task has an image in place of text. It is independent of tokenizers and
prompts, which belong to the task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zobench.data.image import Image


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text, several named ones, or an image.

    Attributes:
        id: unique within its data set and stable across runs and machines (never a position in a shuffled
            list).
        text: named text fields, for instance ``{"sentence": ...}`` or ``{"premise": ..., "hypothesis":
            ...}``.
        label: gold class index; ``None`` if the task has no fixed classes.
        answer: gold text; ``None`` for classification.
        candidates: answer options, if they differ between examples (multiple choice).
        meta: further data (difficulty, source record, protected spans).
        image: the image that is classified; ``None`` for texts.
    """

    id: str
    text: Mapping[str, str]
    label: int | None = None
    answer: str | None = None
    candidates: tuple[str, ...] = ()
    meta: Mapping[str, object] = field(default_factory=dict)
    image: Image | None = None

    @property
    def content(self) -> tuple[object, ...]:
        """All that an answer to the example depends on, as a key for caches."""
        pixels = () if self.image is None else (self.image.digest(),)
        return (self.id, *sorted(self.text.items()), *self.candidates, *pixels)

    def with_text(self, name: str, value: str) -> Example:
        """A copy with text field ``name`` replaced and the same id and gold label."""
        if name not in self.text:
            raise ValueError(f"example {self.id!r} has no text field {name!r}; it has {sorted(self.text)}")
        return dataclasses.replace(self, text={**self.text, name: value})

    def with_image(self, image: Image) -> Example:
        """A copy with another image and the same id and gold label."""
        if self.image is None:
            raise ValueError(f"example {self.id!r} has no image")
        return dataclasses.replace(self, image=image)


@dataclass(frozen=True, slots=True)
class Splits:
    """Examples by use. ``test`` is read only for the evaluation of a run; selection and tuning use
    ``validation``."""

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    demonstrations: Sequence[Example] = ()

    def digest(self) -> str:
        """SHA-256 over ids, texts, labels, answers and images of all splits, in order: the data revision of a
        run."""
        import hashlib
        import json

        h = hashlib.sha256()
        for name in ("train", "validation", "test", "demonstrations"):
            for e in getattr(self, name):
                row = [name, e.id, dict(sorted(e.text.items())), e.label, e.answer, list(e.candidates)]
                if e.image is not None:
                    row.append(e.image.digest())
                h.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode())
        return h.hexdigest()


def single_class(rows: Sequence[Example]) -> int | None:
    """The class of all these rows where they are two or more of one class; else ``None``. Rows with answers
    of their own have no classes."""
    labels = {row.label for row in rows}
    if len(rows) < 2 or len(labels) != 1 or any(row.candidates for row in rows):
        return None
    return labels.pop()
