"""Leaderboard rows of a method entry: one row per point of its sweep, with literal parameters."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zobench.suite.schema import MethodEntry, Suite


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """One row of the leaderboard: the entry it comes from and the point of the entry's sweep."""

    name: str
    entry: str
    method: str
    point: dict[str, Any]

    def params(self, entry: MethodEntry, task: str) -> dict[str, Any]:
        """Literal parameters on one task: those of the entry, then the task's own, then the sweep's."""
        return {**entry.params, **entry.task_params.get(task, {}), **self.point}


def rows_of(name: str, entry: MethodEntry) -> Iterator[SuiteRow]:
    """Rows in the order of the file; the last swept parameter varies fastest. One row if nothing is swept."""
    method = entry.method or name
    for values in itertools.product(*entry.sweep.values()):
        point = dict(zip(entry.sweep, values, strict=True))
        label = " ".join([name, *(f"{key}={shown(value)}" for key, value in point.items())])
        yield SuiteRow(label, name, method, point)


def shown(value: Any) -> str:
    """A parameter value in a row name: ``0.001``, ``full``, ``[1,2]``."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def tasks_of(suite: Suite, entry: MethodEntry) -> list[str]:
    """Names of the suite's tasks (or unlearning objectives) that a method runs on, in their order."""
    return [t for t in suite.blocks if entry.tasks is None or t in entry.tasks]


def models_of(suite: Suite, entry: MethodEntry) -> list[str]:
    """Names of the suite's models that a method trains, in the order of the suite."""
    return [m for m in suite.models if entry.models is None or m in entry.models]


def attacks_of(suite: Suite, entry: MethodEntry, task: str) -> list[str]:
    """Names of the suite's attacks that are applied to a method's runs on one task."""
    if isinstance(entry.attacks, bool):
        chosen = list(suite.attacks) if entry.attacks else []
    else:
        chosen = [a for a in suite.attacks if a in entry.attacks]
    asked = {a: suite.attacks[a].tasks for a in chosen}
    return [a for a, tasks in asked.items() if tasks is None or task in tasks]
