"""Resolves the names in a suite: built-in catalogues, and packages that declare entry points.

A built-in catalogue is a plain dict ``name -> "module:Class"``, so that listing names does not import torch.
Plugins use the entry-point groups below. If a plugin fails to import, its name and error are reported; other
plugins still work.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from zobench.names import nearest

Kind = Literal["methods", "tasks", "attacks", "objectives", "probes", "trackers", "sections", "rewards"]

GROUPS: dict[Kind, str] = {
    "methods": "zobench.optimizers",
    "tasks": "zobench.tasks",
    "attacks": "zobench.attacks",
    "objectives": "zobench.objectives",
    "probes": "zobench.probes",
    "trackers": "zobench.trackers",
    "sections": "zobench.sections",
    "rewards": "zobench.rewards",
}

CATALOGUES: dict[Kind, str] = {
    "methods": "zobench.zo.methods.catalogue",
    "tasks": "zobench.tasks.catalogue",
    "attacks": "zobench.attacks.catalogue",
    "objectives": "zobench.unlearning.catalogue",
    "probes": "zobench.unlearning.catalogue",
    "trackers": "zobench.trackers.catalogue",
    "sections": "zobench.report.catalogue",
    "rewards": "zobench.rewards.catalogue",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name that a suite may use. ``target`` is ``module:attribute``; ``origin`` is ``builtin`` or the
    name of the package."""

    name: str
    target: str
    origin: str

    def load(self) -> Any:
        """The class of this name.

        Raises:
            ValueError: the class cannot be imported; the message names the plugin and its error.
        """
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            raise ValueError(f"{self.name!r} from {self.origin} cannot be loaded: {error!r}") from error


def entries(kind: Kind) -> dict[str, Entry]:
    """All names of a kind, built-in ones first. A plugin with the name of a built-in component is listed as
    ``package.name``."""
    found = {name: Entry(name, target, "builtin") for name, target in builtin_names(kind).items()}
    plugged = {name: Entry(name, point.value, _origin(point)) for name, point in points(kind).items()}
    return {**found, **plugged}


def builtin_names(kind: Kind) -> dict[str, str]:
    """The built-in catalogue of a kind."""
    catalogue = importlib.import_module(CATALOGUES[kind])
    names: dict[str, str] = getattr(catalogue, kind.upper())
    return names


def revision(method: str) -> int | None:
    """The revision of a built-in method's arithmetic; ``None`` for others. Imports no torch."""
    catalogue = importlib.import_module(CATALOGUES["methods"])
    revisions: dict[str, int] = catalogue.REVISIONS
    return revisions.get(method, 1) if method in catalogue.METHODS else None


def points(kind: Kind) -> dict[str, EntryPoint]:
    """The entry points of installed packages, by the name that a suite uses."""
    taken, found = set(builtin_names(kind)), {}
    for point in entry_points(group=GROUPS[kind]):
        name = point.name if point.name not in taken else f"{_origin(point)}.{point.name}"
        taken.add(name)
        found[name] = point
    return found


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown package"


def lookup(kind: Kind, name: str) -> Any:
    """The class for ``name``; ``ValueError`` with the most similar valid names if there is none."""
    known = entries(kind)
    if name not in known:
        raise ValueError(f"unknown {kind[:-1]} {name!r}{nearest(name, known)}")
    return known[name].load()


def builtin_models() -> tuple[str, ...]:
    """Names that may follow ``builtin:`` in a suite's ``models``."""
    names: tuple[str, ...] = importlib.import_module("zobench.models.nano").NAMES
    return names
