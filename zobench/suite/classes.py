"""Looks up method, task and attack classes for the checks, and reports names that cannot be resolved, once
for each place in the file."""

from __future__ import annotations

from typing import Any

from zobench import plugins
from zobench.names import suggestion
from zobench.plugins import Kind
from zobench.suite.problems import KeyPath
from zobench.suite.source import Document


class Classes:
    """Classes by kind and catalogue name. A plugin that fails to import is reported as a problem of the suite
    that names it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._entries: dict[Kind, dict[str, plugins.Entry]] = {}
        self._loaded: dict[tuple[Kind, str], Any] = {}

    def names(self, kind: Kind) -> dict[str, plugins.Entry]:
        """All names of that kind that a suite may use."""
        if kind not in self._entries:
            self._entries[kind] = plugins.entries(kind)
        return self._entries[kind]

    def get(self, kind: Kind, name: str, path: KeyPath) -> Any | None:
        """The class; ``None`` if it cannot be loaded, after reporting the reason at ``path``."""
        known = self.names(kind)
        if name not in known:
            self._document.report(path, f"unknown {kind[:-1]} {name!r}", suggestion(name, known))
            return None
        if (kind, name) not in self._loaded:
            try:
                self._loaded[kind, name] = known[name].load()
            except ValueError as error:
                self._loaded[kind, name] = error
        found = self._loaded[kind, name]
        if isinstance(found, ValueError):
            self._document.report(path, str(found))
            return None
        return found
