"""Classification of a user's own images, defined in a suite without code (``task: image-classification``).

    tasks:
      mine: {task: image-classification, params: {data: photos/labels.csv, image: file, label: kind}}

``data`` is a table (CSV, TSV, JSON Lines, parquet) with the paths of PNG files, relative to the table, or
``hub:OWNER/NAME`` with an image column. The content of the images is part of a run's identity; the paths are
not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from zobench.data.example import Example
from zobench.data.image import Image
from zobench.data.image_files import hub_image, read_png
from zobench.data.records import Record, Records
from zobench.tasks.images import ImageClassification
from zobench.tasks.own_data import OwnData, OwnDataConfig, labels_of, on_hub, record_id


@dataclass(frozen=True, kw_only=True)
class OwnImagesConfig(OwnDataConfig):
    """Parameters of image classification on own data."""

    image: str = "image"
    """Column with the path of a PNG file, or with the images of a hub data set."""
    label: str = "label"
    """Column with the class."""
    names: Mapping[str, str] | None = None
    """Label as in the file -> name of the class on pages; ``None``: the labels themselves."""
    drop: bool = False
    """Whether to leave out records whose label is not in ``names``; else they are an error."""


class OwnImages(OwnData, ImageClassification):
    """See :class:`OwnImagesConfig`. Without ``names``, the constructor reads the classes from the file."""

    Config: ClassVar[type] = OwnImagesConfig

    def __init__(self, config: OwnImagesConfig) -> None:
        found = labels_of(config) if config.names is None else dict(config.names)
        if len(found) < 2:
            raise ValueError(f"label: two or more classes are needed, not {list(found)}")
        self.labels = tuple(sorted(found))
        """Labels as in the file, in class order."""
        super().__init__(config, [found[label] for label in self.labels])

    def columns(self) -> Mapping[str, str]:
        return {self.config.image: "image", self.config.label: "label"}

    def example(self, records: Records, record: Record) -> Example | None:
        said = record.text(self.config.label)
        if said not in self.labels:
            if self.config.drop:
                return None
            raise ValueError(
                f"{records.at(record)}: label {said!r} is not among names ({', '.join(self.labels)}); add "
                "it, or leave such records out with drop: true"
            )
        image = self._image(records, record)
        label = self.labels.index(said)
        name = self.classes[label]
        return Example(record_id(records, record), {}, label=label, answer=name, image=image)

    def _image(self, records: Records, record: Record) -> Image:
        value = record.values.get(self.config.image)
        if on_hub(records.source):
            return hub_image(value, records.at(record))
        try:
            return read_png(Path(records.source).expanduser().parent / str(value))
        except ValueError as error:
            raise ValueError(f"{records.at(record)}: {error}") from error
