"""Reads a suite file: YAML 1.2, safe, with the line of every key; follows ``include:``.

YAML 1.2 means that ``1e-3`` is a number, and that ``on``, ``yes`` and ``2024-01-01`` are text. Duplicate
keys, keys that are not text, tags and numbers that are not finite are problems. So are numbers whose value
would differ from their written form: ``1_000`` and ``0b11`` (not numbers in YAML 1.2), ``1e-400`` (0 in
double precision), whole numbers beyond 64 bits. Anchors and aliases work; merge keys (``<<``) are not part of
YAML 1.2. An include is another plain YAML file, relative to the file that names it. Its top-level mappings
are merged entry by entry: a local entry replaces the included one as a whole, and a later include takes
precedence over an earlier one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import TagToken

from zobench.suite.problems import KeyPath, Problem, SourcePlace, SuiteError, dotted

MOST_VALUES = 200_000
MOST_LEVELS = 50
_TOO_DEEP = f"nested more than {MOST_LEVELS} levels deep"
_TEXT = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp")
MOST_WHOLE = 2**63 - 1
"""Largest whole number of a suite, and largest seed: what a 64-bit column of the results holds."""
_NUMBER = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
)
"""Finite numbers of the core schema of YAML 1.2 (section 10.3.2)."""
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp")}


@dataclass(slots=True)
class Document:
    """Plain values of a suite with its includes merged, and the file and line of each key."""

    file: str
    value: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, SourcePlace] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath) -> SourcePlace:
        """The line of ``path``, or of its nearest ancestor that is in a file."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, SourcePlace(self.file, 1))

    def report(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Record one problem at ``path``."""
        place = self.place(path)
        problem = Problem(place.file, place.line, dotted(path), message, hint)
        if problem not in self.problems:
            self.problems.append(problem)


def read(path: Path | str) -> Document:
    """The suite file at ``path`` with its includes. Syntax errors and a missing file raise
    :class:`SuiteError` at once; other problems are collected in the document."""
    return _read(Path(path), ())


def _read(path: Path, chain: tuple[Path, ...]) -> Document:
    document = Document(str(path))
    root = _compose(path)
    _check_size(root, path)
    if isinstance(root, MappingNode):
        document.value = _mapping(root, (), document, frozenset())
    else:
        document.report((), "a suite is a mapping of keys", "start from 'zobench init NAME.yaml'")
    return _with_includes(document, path, (*chain, path.resolve()))


def _compose(path: Path) -> Node | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SuiteError([Problem(str(path), 1, "", f"cannot be read: {reason}")]) from error
    try:
        _refuse_verbatim_tags(path, text)
        return YAML(typ="safe", pure=True).compose(text)
    except RecursionError as error:
        raise SuiteError([Problem(str(path), 1, "", _TOO_DEEP)]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        message = error.problem or error.context or "not YAML"
        raise SuiteError([Problem(str(path), line, "", f"not valid YAML: {message}")]) from error
    except YAMLError as error:
        raise SuiteError([Problem(str(path), 1, "", f"not valid YAML: {error}")]) from error


def _refuse_verbatim_tags(path: Path, text: str) -> None:
    """``!<tag:yaml.org,2002:int> 1``: in the composed tree such a tag can no longer be seen."""
    if "!<" not in text:
        return
    for token in YAML(typ="safe", pure=True).scan(text):
        if isinstance(token, TagToken) and token.value[0] is None:
            raise SuiteError([Problem(str(path), token.start_mark.line + 1, "", *_tagged(token.value[1]))])


def _tagged(tag: object) -> tuple[str, str]:
    return f"tag {str(tag)!r} is not allowed", "write a plain value"


def _check_size(root: Node | None, path: Path) -> None:
    """Reject files that are nested too deeply or too large with every alias expanded: a few nested aliases
    can expand to billions of values."""
    sizes: dict[int, int] = {}

    def size(node: Node, depth: int) -> int:
        if depth > MOST_LEVELS:
            raise SuiteError([Problem(str(path), node.start_mark.line + 1, "", _TOO_DEEP)])
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = 1  # ends the recursion for an alias that contains itself; _value reports it
        children: list[Node] = []
        if isinstance(node, MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, SequenceNode):
            children = node.value
        sizes[id(node)] = total = 1 + sum(size(child, depth + 1) for child in children)
        if total > MOST_VALUES:
            message = f"more than {MOST_VALUES:,} values with every alias expanded"
            raise SuiteError([Problem(str(path), node.start_mark.line + 1, "", message)])
        return total

    if root is not None:
        size(root, 0)


def _value(node: Node, path: KeyPath, document: Document, above: frozenset[int]) -> Any:
    if id(node) in above:
        document.report(path, "an alias that contains itself")
        return None
    if node.ctag.handle is not None:
        document.report(path, *_tagged(node.tag))
        return None
    if isinstance(node, MappingNode):
        return _mapping(node, path, document, above)
    if isinstance(node, SequenceNode):
        return _sequence(node, path, document, above)
    assert isinstance(node, ScalarNode)
    return _scalar(node, path, document)


def _mapping(node: MappingNode, path: KeyPath, document: Document, above: frozenset[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            document.places[(*path, "?")] = SourcePlace(document.file, line)
            document.report((*path, "?"), "a key must be text")
            continue
        key = key_node.value
        here = (*path, key)
        if key in found:
            first = document.places[here].line
            document.problems.append(
                Problem(document.file, line, dotted(here), f"duplicate key (first on line {first})")
            )
            continue
        document.places[here] = SourcePlace(document.file, line)
        found[key] = _value(value_node, here, document, above | {id(node)})
    return found


def _sequence(node: SequenceNode, path: KeyPath, document: Document, above: frozenset[int]) -> list[Any]:
    items = []
    for index, item in enumerate(node.value):
        here = (*path, index)
        document.places[here] = SourcePlace(document.file, item.start_mark.line + 1)
        items.append(_value(item, here, document, above | {id(node)}))
    return items


def _scalar(node: ScalarNode, path: KeyPath, document: Document) -> Any:
    tag = str(node.tag)
    if tag not in _SCALARS:
        document.report(path, *_tagged(tag))
        return None
    if tag in _TEXT:
        return node.value
    try:
        value = YAML(typ="safe", pure=True).constructor.construct_object(node)
    except (ValueError, KeyError, IndexError, YAMLError):
        document.report(
            path, f"{node.value[:40]!r} is not a valid {tag.rpartition(':')[2]}", "write a plain value"
        )
        return None
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (wrong := _not_as_written(value, node.value))
    ):
        document.report(path, *wrong)
        return None
    return value


def _not_as_written(value: int | float, text: str) -> tuple[str, str] | None:
    """Why the number that was read is not the one that stands in the file, and what to write; ``None`` if it
    is."""
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    if isinstance(value, float) and not math.isfinite(value):
        return f"{shown} is not a finite number", ""
    if _NUMBER.fullmatch(text) is None:
        return f"{shown} is not a number in YAML 1.2", f"write {value}, or quotes around it where it is text"
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        return f"{shown} is smaller than every double-precision number but 0", "write 0, or 1e-300 or more"
    if isinstance(value, int) and abs(value) > MOST_WHOLE:
        return (
            f"{shown} does not fit into 64 bits",
            f"whole numbers, seeds too, go up to {MOST_WHOLE}",
        )
    return None


def _with_includes(document: Document, path: Path, chain: tuple[Path, ...]) -> Document:
    names = document.value.pop("include", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        document.report(("include",), "must be a file name or a list of file names")
        return document
    merged = Document(document.file)
    for index, name in enumerate(names):
        target = path.parent / name
        at = ("include", index)
        if target.resolve() in chain:
            document.report(at, f"{name!r} includes this file again: a cycle")
        elif not target.is_file():
            near = [p.name for p in path.parent.glob("*.y*ml")]
            from zobench.names import suggestion

            document.report(at, f"no file {name!r} beside {path.name}", suggestion(name, near))
        else:
            _merge(merged, _read(target, chain))
    _merge(merged, document)
    return merged


def _merge(into: Document, other: Document) -> None:
    """Merge ``other`` into ``into``: values of ``other`` replace those of ``into``. If both are mappings,
    this applies to each of their entries."""
    for top, value in other.value.items():
        mine = into.value.get(top)
        if isinstance(mine, dict) and isinstance(value, dict):
            replaced: list[KeyPath] = [(top, name) for name in value]
            mine.update(value)
        else:
            replaced = [(top,)]
            into.value[top] = value
        for old in [p for p in into.places if any(p[: len(r)] == r for r in replaced)]:
            del into.places[old]
    into.places.update(other.places)
    into.problems.extend(other.problems)
