"""Identifies the code of the components of a run that come from plugins (installed packages).

Built-in components are identified by zobench's own version and revision. For a plugin, the distribution, its
version and a digest of its code enter the identity of the runs that use it, so that runs are repeated after
the plugin has been edited.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

from zobench.plugins import Kind, builtin_names, points
from zobench.spec import Component, RunSpec, reward_of

_CODE = (".py", *EXTENSION_SUFFIXES)


def plugin_digests(spec: RunSpec) -> dict[str, str]:
    """``{"plugins": "name version digest, ..."}``, one part per distribution; empty without plugins."""
    found = {described(point) for kind, name in plugin_parts(spec) if (point := _point(kind, name))}
    return {"plugins": ", ".join(sorted(found))} if found else {}


def plugin_parts(spec: RunSpec) -> list[tuple[Kind, str]]:
    """Kind and name of every part of a run that is not in a built-in catalogue."""
    return [(kind, name) for kind, name in _parts(spec) if name not in builtin_names(kind)]


def uses_plugins(spec: RunSpec) -> bool:
    """Whether a part of the run comes from an installed package."""
    return any(_point(kind, name) is not None for kind, name in plugin_parts(spec))


def _parts(spec: RunSpec) -> Iterator[tuple[Kind, str]]:
    yield "methods", spec.method.name
    yield from (("attacks", attack.name) for attack in spec.attacks)
    reward = reward_of(spec)
    if reward is not None and not reward.sha256:
        yield "rewards", reward.reward
    if spec.unlearning is None:
        yield from _tasks(spec.task)
        return
    # The data of unlearning are no part: they are from a fixed list, which plugins do not extend.
    yield "objectives", spec.task.name
    yield from (("probes", probe.name) for probe in spec.unlearning.probes)


def _tasks(task: Component) -> Iterator[tuple[Kind, str]]:
    """The task, and the one inside it where it wraps another."""
    yield "tasks", task.name
    inner, params = task.params.get("of"), task.params.get("params", {})
    if isinstance(inner, str):
        yield from _tasks(Component(name=inner, params=params if isinstance(params, dict) else {}))


def _point(kind: Kind, name: str) -> EntryPoint | None:
    """The entry point of a name; ``None`` for components that a test or a study supplies directly."""
    return points(kind).get(name)


@functools.cache
def described(point: EntryPoint) -> str:
    """Distribution, version and code digest. They are computed once per process, because modules that are
    already imported do not change when their files do."""
    dist = point.dist
    name, version = (dist.name, dist.version) if dist is not None else ("unknown", "unknown")
    digest = hashlib.sha256()
    for where, path in sorted(code_files(point)):
        digest.update(f"{where}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{name} {version} {digest.hexdigest()}"


def code_files(point: EntryPoint) -> list[tuple[str, Path]]:
    """Name and path of the Python and compiled files of the distribution. If they do not include the entry
    point's module (an editable installation), the files of its top-level module instead.

    Raises:
        ValueError: no file of the module can be found.
    """
    own = _module_files(point.module.partition(".")[0])
    installed = _installed_files(point.dist) if point.dist is not None else []
    modules = {path for _, path in own}
    if any(path in modules for _, path in installed):
        return installed
    if not own:
        raise ValueError(
            f"plugin {point.name!r}: no code found for its module {point.module!r}; reinstall it"
        )
    return own


def _installed_files(dist: Distribution) -> list[tuple[str, Path]]:
    listed = [(str(file), Path(str(dist.locate_file(file))).resolve()) for file in dist.files or ()]
    return [(where, path) for where, path in listed if where.endswith(_CODE) and path.is_file()]


def _module_files(top: str) -> list[tuple[str, Path]]:
    """The files of a top-level module or package, found without importing it."""
    from importlib.util import find_spec

    PathFinder.invalidate_caches()  # a package installed since this process started must be found
    try:
        spec = find_spec(top)
    except ValueError:  # the module is in sys.modules with __spec__ None, for instance one made by a test
        spec = None
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [] if spec.origin is None else [(Path(spec.origin).name, Path(spec.origin).resolve())]
    found = []
    for folder in map(Path, spec.submodule_search_locations):
        files = (path for path in folder.rglob("*") if path.name.endswith(_CODE) and path.is_file())
        found += [(path.relative_to(folder.parent).as_posix(), path.resolve()) for path in files]
    return found
