"""Reads a suite file (:mod:`zobench.strict_yaml`) with the line of every key; follows ``include:``.

An include is another plain YAML file, relative to the file that names it. Its top-level mappings are merged
entry by entry: a local entry replaces the included one as a whole, and a later include takes precedence over
an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zobench import shipped, strict_yaml
from zobench.names import suggestion
from zobench.strict_yaml import MOST_WHOLE, KeyPath
from zobench.suite.problems import Problem, SourcePlace, SuiteError, dotted

__all__ = ["MOST_WHOLE", "Document", "read"]

MOST_INCLUDES = 100
"""Number of included files of a suite, counted as often as they are included."""


@dataclass(slots=True)
class Document:
    """Plain values of a suite with its includes merged, and the file and line of each key. ``first_line``: 1,
    or 0 for values that are in no file."""

    file: str
    value: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, SourcePlace] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    first_line: int = 1

    def place(self, path: KeyPath) -> SourcePlace:
        """The line of ``path``, or of its nearest ancestor that is in a file."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, SourcePlace(self.file, self.first_line))

    def report(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Record one problem at ``path``."""
        place = self.place(path)
        problem = Problem(place.file, place.line, dotted(path), message, hint)
        if problem not in self.problems:
            self.problems.append(problem)


def read(path: Path | str) -> Document:
    """The suite file at ``path`` with its includes. Syntax errors and a missing file raise
    :class:`SuiteError` at once; other problems are collected in the document."""
    return _read(Path(path), (), [])


def _read(path: Path, chain: tuple[Path, ...], included: list[Path]) -> Document:
    document = Document(str(path))
    try:
        found = strict_yaml.read(path)
    except strict_yaml.StrictYamlError as error:
        hint = "" if path.exists() else shipped.instead_of(path)
        raise SuiteError([Problem(str(path), error.line, "", error.reason, hint)]) from error
    document.places = {key: SourcePlace(document.file, line) for key, line in found.lines.items()}
    document.problems = [
        Problem(document.file, line, dotted(key), message, hint)
        for key, line, message, hint in found.problems
    ]
    if isinstance(found.value, dict):
        document.value = found.value
    elif not document.problems:
        document.report((), "a suite is a mapping of keys", "start from 'zobench init NAME.yaml'")
    return _with_includes(document, path, (*chain, path.resolve()), included)


def _with_includes(document: Document, path: Path, chain: tuple[Path, ...], included: list[Path]) -> Document:
    names = document.value.pop("include", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        document.report(("include",), "must be a file name or a list of file names")
        return document
    merged = Document(document.file)
    for index, name in enumerate(names):
        at = ("include", index)
        try:
            target = (path.parent / name).resolve()
            there = target.is_file()
        except (OSError, ValueError):  # a name that no file can have
            target, there = path, False
        if target in chain and there:
            document.report(at, f"{name!r} includes this file again: a cycle")
        elif not there:
            near = [p.name for p in path.parent.glob("*.y*ml")]
            document.report(at, f"no file {name[:80]!r} beside {path.name}", suggestion(name[:80], near))
        elif len(included) >= MOST_INCLUDES:
            document.report(at, f"a suite includes at most {MOST_INCLUDES} files")
            break
        else:
            included.append(target)
            _merge(merged, _read(path.parent / name, chain, included))
    _merge(merged, document)
    return merged


def _merge(into: Document, other: Document) -> None:
    """Merge ``other`` into ``into``: values of ``other`` replace those of ``into``. If both are mappings,
    this applies to each of their entries."""
    replaced: set[KeyPath] = set()
    for top, value in other.value.items():
        mine = into.value.get(top)
        if isinstance(mine, dict) and isinstance(value, dict):
            replaced.update((top, name) for name in value)
            mine.update(value)
        else:
            replaced.add((top,))
            into.value[top] = value
    kept = {p: at for p, at in into.places.items() if not (p[:1] in replaced or p[:2] in replaced)}
    into.places = {**kept, **other.places}
    into.problems.extend(other.problems)
