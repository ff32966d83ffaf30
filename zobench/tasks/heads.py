"""The classes of a task as outputs of a trained classification head (``…ForSequenceClassification``).

The labels of the head (``id2label`` of its configuration) are matched with the names of the task's classes:
the labels in the data file, or the label words. Case and white space around a name do not count, and
``LABEL_3`` is the label of class ``3``. Names that match no label are given in the suite: ``labels`` of the
model, class -> label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zobench.names import nearest


def head_columns(classes: Sequence[Sequence[str]], labels: Mapping[str, int], model: str) -> list[int]:
    """For each class of the task, the head's output.

    Args:
        classes: for each class its names, in order of preference; one kind of name must fit all classes.
        labels: label of the head -> its output (:func:`zobench.models.heads.labels_of`).
        model: the model's name, for messages.

    Raises:
        ValueError: a class has no label, or two classes have the same one.
    """
    by_name = {_plain(label): place for label, place in labels.items()}
    kinds = max(map(len, classes), default=0)
    for kind in range(kinds):
        found = [by_name.get(_plain(names[min(kind, len(names) - 1)])) for names in classes]
        if None not in found and len(set(found)) == len(found):
            return [place for place in found if place is not None]
    lost = next((n[0] for n in classes if not any(_plain(name) in by_name for name in n)), None)
    if lost is None:
        what = "do not belong to the classes one by one"
    else:
        what = f"have none for the class {lost!r}{nearest(lost, labels)}"
    raise ValueError(
        f"model {model!r}: the labels of its head ({', '.join(labels)}) {what}; say which is which with "
        "labels: {CLASS: LABEL} of the model"
    )


def _plain(name: str) -> str:
    return name.strip().casefold().removeprefix("label_")
