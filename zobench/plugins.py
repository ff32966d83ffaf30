"""Resolves the names in a suite: built-in catalogues, and packages that declare entry points.

A built-in catalogue is a plain dict ``name -> "module:Class"``, so that listing names does not import torch.
Plugins use the entry-point groups below. If a plugin fails to import, its name and error are reported; other
plugins still work. Before a plugin's module is imported for the first time, a process of its own imports it,
so that one that ends its process or hangs on import cannot do so to ours.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
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

NEEDED: dict[Kind, tuple[str, ...]] = {
    "trackers": ("requires",),
    "methods": ("Config", "card"),
    "sections": (),
}
"""What the class of a plugin must have; for other kinds ``Config``."""

_Look = Callable[..., Iterable[EntryPoint]]
_Places = tuple[tuple[str, int | None], ...]

IMPORT_SECONDS = 600.0
"""Time limit of a plugin's first import."""
_TRIED = "ZOBENCH_IMPORTED_PLUGINS"
"""Environment variable with the modules that could be imported, for the workers of this process."""
_TRY = """\
import importlib, sys
try:
    importlib.import_module(sys.argv[1])
except (Exception, SystemExit):
    pass  # raised again, and reported, where the module is used
sys.__stdout__.write("\\nimport ended\\n")
sys.__stdout__.flush()
"""


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
        if self.origin != "builtin" and (problem := _import_problem(module)):
            raise ValueError(f"{self.name!r} from {self.origin} cannot be loaded: {problem}")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            raise ValueError(f"{self.name!r} from {self.origin} cannot be loaded: {_told(error)}") from error

    def usable(self, kind: Kind) -> Any:
        """The class of this name, which has what a class of this kind needs.

        Raises:
            ValueError: the class cannot be imported, or lacks something.
        """
        found = self.load()
        if problem := self.lacks(kind, found):
            raise ValueError(problem)
        return found

    def lacks(self, kind: Kind, found: Any) -> str:
        """Why ``found`` cannot be used as one of this kind; empty if it can, and for built-in ones."""
        if self.origin == "builtin":
            return ""
        what = f"{self.name!r} from {self.origin} is not one of the {kind}: "
        if not isinstance(found, type):
            return f"{what}{self.target} is not a class"
        for part in NEEDED.get(kind, ("Config",)):
            if getattr(found, part, None) is None:
                return f"{what}its class has no {part!r}"
        if missing := sorted(getattr(found, "__abstractmethods__", ())):
            return f"{what}its class does not define {', '.join(f'{name}()' for name in missing)}"
        return ""


def _told(error: BaseException) -> str:
    """The error in one line; of a file that is not Python its path and line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    return repr(error)


def _import_problem(module: str) -> str:
    """What happens to a process that imports the module, if it does not survive; else an empty text."""
    tried = os.environ.get(_TRIED, "").split(os.pathsep)
    if module in sys.modules or module in tried:
        return ""
    where = f"importing {module!r} ({_file_of(module)})"
    paths = os.pathsep.join(os.path.abspath(p) for p in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, module],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=IMPORT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"{where} took more than {IMPORT_SECONDS:g} seconds"
    if not done.stdout.endswith(b"\nimport ended\n"):
        return f"{where} ended the process with exit code {done.returncode}"
    os.environ[_TRIED] = os.pathsep.join([*filter(None, tried), module])
    return ""


def _file_of(module: str) -> str:
    """File or folder of the module's top-level package; nothing is imported."""
    spec = PathFinder.find_spec(module.partition(".")[0])
    if spec is None:
        return "not found"
    return spec.origin or ", ".join(spec.submodule_search_locations or ())


def entries(kind: Kind) -> dict[str, Entry]:
    """All names of a kind, built-in ones first. A plugin with the name of a built-in component is listed as
    ``package.name``."""
    return dict(_entries(kind, tuple(builtin_names(kind).items()), entry_points, _places()))


@functools.lru_cache(maxsize=64)
def _entries(
    kind: Kind, builtin: tuple[tuple[str, str], ...], look: _Look, places: _Places
) -> dict[str, Entry]:
    """:func:`entries`. Cached, because a plan looks names up several times per run, and the scan reads a file
    of every installed package."""
    found = {name: Entry(name, target, "builtin") for name, target in builtin}
    plugged = {name: Entry(name, point.value, _origin(point)) for name, point in _points(kind, look, places)}
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


def missing_package(method: str) -> str:
    """Why a built-in method cannot run here: a package of an extra is not installed. Empty if it can. Imports
    no torch, and not the package."""
    catalogue = importlib.import_module(CATALOGUES["methods"])
    packages: dict[str, str] = catalogue.PACKAGES
    package = packages.get(method)
    if package is None or importlib.util.find_spec(package) is not None:
        return ""
    return f"method {method!r} needs the package {package}: pip install 'zobench[blackbox]'"


def points(kind: Kind) -> dict[str, EntryPoint]:
    """The entry points of installed packages, by the name that a suite uses."""
    return dict(_points(kind, entry_points, _places()))


@functools.lru_cache(maxsize=64)
def _points(kind: Kind, look: _Look, places: _Places) -> tuple[tuple[str, EntryPoint], ...]:
    taken, found = set(builtin_names(kind)), []
    for point in look(group=GROUPS[kind]):
        name = point.name if point.name not in taken else f"{_origin(point)}.{point.name}"
        taken.add(name)
        found.append((name, point))
    return tuple(found)


def _places() -> _Places:
    """Where packages are looked for, with modification times: installing or removing one changes its
    folder's."""
    return tuple((place, _changed(place or ".")) for place in sys.path)


def _changed(place: str) -> int | None:
    try:
        return os.stat(place).st_mtime_ns
    except OSError:
        return None


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown package"


def lookup(kind: Kind, name: str) -> Any:
    """The class for ``name``; ``ValueError`` with the most similar valid names if there is none."""
    known = entries(kind)
    if name not in known:
        raise ValueError(f"unknown {kind[:-1]} {name!r}{nearest(name, known)}")
    return known[name].usable(kind)


def builtin_models() -> tuple[str, ...]:
    """Names that may follow ``builtin:`` in a suite's ``models``."""
    names: tuple[str, ...] = importlib.import_module("zobench.models.nano").NAMES
    return names
