"""A method around another method: the base of ``mezo-gv`` and ``anchored``.

The config names the inner method by its catalogue name; ``lr`` is the inner method's, and ``params`` are its
other parameters. The inner method does the bookkeeping of a step (directions, update, refusals); the wrapper
may query losses before it and change weights after it. Both use one bound engine, so that a run is counted,
distributed and resumed as one method.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Any

import torch

from zobench.zo.engine import Engine
from zobench.zo.method import Method
from zobench.zo.method_data import MethodData
from zobench.zo.objective import Objective
from zobench.zo.parameters import nearest
from zobench.zo.space.base import ParameterSpace


def method_named(name: str) -> type[Method]:
    """The class of a catalogue name. ``ValueError`` names the nearest one if there is none."""
    from zobench.zo.methods.catalogue import METHODS

    if name not in METHODS:
        told = nearest(name, METHODS) or "zobench list methods shows the names"
        raise ValueError(f"method {name!r} is not a built-in method; {told}")
    module, _, attribute = METHODS[name].partition(":")
    found: type[Method] = getattr(importlib.import_module(module), attribute)
    return found


def inner_of(config: Any) -> tuple[type[Method], Any]:
    """Class and config of the inner method of a config with ``method``, ``lr`` and ``params``. ``ValueError``
    names a parameter that the inner method does not have, or a value that it refuses."""
    method = method_named(config.method)
    given = dict(config.params or {})
    known = [f.name for f in fields(method.Config) if f.name != "lr"]
    for key in given:
        if key not in known:
            told = nearest(key, known) or f"it has {', '.join(known) or 'none besides lr'}"
            raise ValueError(f"params: method {config.method!r} has no further parameter {key!r}; {told}")
    try:
        return method, method.Config(lr=config.lr, **given)
    except ValueError as error:
        raise ValueError(f"params of method {config.method!r}: {error}") from error


class Wrapped(Method):
    """A method that holds another one.

    Attributes:
        inner: the inner method, on the same space with the same seed.
    """

    def __init__(
        self, config: Any, space: ParameterSpace, *, seed: int, engine: Engine | None = None
    ) -> None:
        super().__init__(config, space, seed=seed, engine=engine)
        method, given = inner_of(config)
        self.inner: Any = method(given, space, seed=seed, engine=engine)
        self.engine = self.inner.engine

    @classmethod
    def indivisible(cls, config: Any) -> str:
        method, given = inner_of(config)
        return super().indivisible(config) or method.indivisible(given)

    def supply(self, supplies: MethodData) -> None:
        self.inner.supply(supplies)

    def prepare(self, objective: Objective) -> None:
        self.inner.prepare(objective)

    def artifacts(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = self.inner.artifacts()
        return found

    def load_artifacts(self, artifacts: Mapping[str, torch.Tensor]) -> None:
        self.inner.load_artifacts(artifacts)

    def settle(self) -> None:
        self.inner.settle()

    def settled(self) -> AbstractContextManager[None]:
        found: AbstractContextManager[None] = self.inner.settled()
        return found

    def parts(self) -> dict[str, Any]:
        return {"inner": self.inner}
