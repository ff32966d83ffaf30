"""Creates models, tasks, methods, spaces and attacks for the runner: from the catalogues, or from small ones
that a test supplies.

Workers are new processes, so a factory is passed to them by name, ``"module:attribute"``.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Protocol

from zobench.parameters import configure
from zobench.plugins import Kind, lookup
from zobench.spec import Component, ModelRef, RunSpec, SpaceRef

if TYPE_CHECKING:
    import torch

    from zobench.attacks.base import Attack
    from zobench.models.base import LanguageModel
    from zobench.tasks.base import Task
    from zobench.zo.base import Optimizer
    from zobench.zo.space import ParameterSpace

DEFAULT = "zobench.runner.factory:CATALOGUE"


class Factory(Protocol):
    """Creates the parts of a run."""

    def load_model(self, ref: ModelRef) -> LanguageModel: ...

    def task(self, component: Component) -> Task: ...

    def attack(self, component: Component) -> Attack: ...

    def method(self, name: str) -> type[Optimizer]: ...

    def space(self, ref: SpaceRef, module: torch.nn.Module) -> ParameterSpace: ...

    def optimizer(self, spec: RunSpec, space: ParameterSpace) -> Optimizer: ...


class CatalogueFactory:
    """Creates parts by catalogue or plugin name."""

    def load_model(self, ref: ModelRef) -> LanguageModel:
        from zobench.models.loading import load

        return load(ref)

    def task(self, component: Component) -> Task:
        task: Task = configured("tasks", component)
        return task

    def attack(self, component: Component) -> Attack:
        attack: Attack = configured("attacks", component)
        return attack

    def method(self, name: str) -> type[Optimizer]:
        found: type[Optimizer] = lookup("methods", name)
        return found

    def space(self, ref: SpaceRef, module: torch.nn.Module) -> ParameterSpace:
        from zobench.zo.space import build_space

        return build_space(ref.kind, ref.params, module)

    def optimizer(self, spec: RunSpec, space: ParameterSpace) -> Optimizer:
        from zobench.zo.engine import Engine
        from zobench.zo.method import Method

        method: Any = self.method(spec.method.name)
        config: Any = configure(method.Config, spec.method.params)
        if spec.clients is not None:
            from zobench.runner.clients import rounds_of

            method, config = rounds_of(spec.clients, method, config)
        if issubclass(method, Method):
            # A run writes weights between two steps through the space only.
            engine = Engine(mode=spec.perturbation, noise=spec.noise, precision=spec.precision, ahead=True)
            return method(config, space, seed=spec.seed, engine=engine)
        return method(config, space, seed=spec.seed)


CATALOGUE = CatalogueFactory()


def configured(kind: Kind, component: Component) -> Any:
    """An instance of the named class with its checked parameters."""
    found = lookup(kind, component.name)
    return found(configure(found.Config, component.params))


def load_parts(name: str) -> Factory:
    """The factory named ``"module:attribute"``."""
    module, _, attribute = name.partition(":")
    parts: Factory = getattr(importlib.import_module(module), attribute)
    return parts


def content_key(component: Component, digest: str) -> str:
    """As :func:`component_key`, with the digest of the data in place of the paths of data files, so that
    random draws seeded with this key do not change if a file is moved."""
    if not component.files:
        return component_key(component)
    params = {k: v for k, v in component.params.items() if k not in component.files}
    return f"{component_key(component.model_copy(update={'params': params}))} {digest}"


def component_key(component: Component) -> str:
    """Name and sorted parameters in one line."""
    return f"{component.name} {json.dumps(component.params, sort_keys=True, separators=(',', ':'))}"
