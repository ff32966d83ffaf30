"""Components of a suite with all parameters, defaults included."""

from __future__ import annotations

import functools
import json
from typing import Any

from zobench import plugins
from zobench.parameters import configure, data_files, literal
from zobench.plugins import Kind
from zobench.spec import Component
from zobench.suite.schema import Suite


def task_of(suite: Suite, name: str) -> Component:
    """The task of that entry with all its parameters; in an unlearning suite, the objective."""
    if suite.unlearning is None:
        return resolved("tasks", suite.tasks[name].task or name, suite.tasks[name].params)
    entry = suite.unlearning.objectives[name]
    return resolved("objectives", entry.objective or name, entry.params)


def resolved(kind: Kind, name: str, params: dict[str, Any]) -> Component:
    """A component with all parameters, defaults included."""
    config = plugins.lookup(kind, name).Config
    spelled = json.loads(_spelled_out(config, json.dumps(params, sort_keys=True)))
    return Component(name=name, params=spelled, files=data_files(config))


@functools.lru_cache(maxsize=4096)
def _spelled_out(config: type, params: str) -> str:
    """All parameters as JSON. Cached, because every run of a suite resolves the same components again."""
    return json.dumps(literal(configure(config, json.loads(params))))
