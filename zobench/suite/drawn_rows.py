"""Rows of a task at planning: how many there are, and of which classes.

Only where they are known without fetching anything: the built-in tasks on generated data, on files under
``ZOBENCH_DATA`` and on a user's own files. Other tasks are looked at when their first run has drawn its rows.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zobench.plugins import lookup
from zobench.spec import Component
from zobench.tasks.catalogue import TASKS

if TYPE_CHECKING:
    from zobench.tasks.base import Task


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """What one data seed gives: number of training rows, and the class of each training, validation and test
    row (``None`` where rows have no class of a fixed set)."""

    task: Task
    train: tuple[int | None, ...]
    validation: tuple[int | None, ...]
    test: tuple[int | None, ...]

    def only_class(self, labels: tuple[int | None, ...]) -> str:
        """Name of the one class of two or more rows; empty where there are several or none."""
        found = set(labels)
        label = found.pop() if len(labels) > 1 and len(found) == 1 else None
        return "" if label is None else self.task.class_name(label)


def drawn(task: Component, seed: int) -> DrawnRows | None:
    """The task's rows for that seed; ``None`` where they cannot be had here and now."""
    if not _local(task.name, task.params):
        return None
    given = [os.stat(file) for key in task.files if (file := task.params.get(key)) and os.path.exists(file)]
    stamp = (os.environ.get("ZOBENCH_DATA"), *((s.st_size, s.st_mtime_ns) for s in given))
    return _drawn(task.name, json.dumps(task.params, sort_keys=True), seed, stamp)


def _local(name: Any, params: dict[str, Any]) -> bool:
    if isinstance(inner := params.get("of"), str):
        return name in TASKS and _local(inner, params.get("params", {}))
    fetched = params.get("source", "local") != "local" or str(params.get("data", "")).startswith("hub:")
    return name in TASKS and not fetched


@functools.lru_cache(maxsize=64)
def _drawn(name: str, params: str, seed: int, stamp: tuple[object, ...]) -> DrawnRows | None:
    from zobench.parameters import configure
    from zobench.tasks.base import Task

    found = lookup("tasks", name)
    if not issubclass(found, Task):
        return None
    try:
        task = found(configure(found.Config, json.loads(params)))
        splits = task.splits(seed)
    except (ValueError, OSError):  # the run will say it with what it knows
        return None
    labels = [
        tuple(None if e.candidates else e.label for e in rows)
        for rows in (splits.train, splits.validation, splits.test)
    ]
    return DrawnRows(task, *labels)
