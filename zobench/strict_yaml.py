"""Reads YAML 1.2 from files that may have been written by anybody: plain values, bounded work, exact numbers.

YAML 1.2 means that ``1e-3`` is a number, and that ``on``, ``yes`` and ``2024-01-01`` are text. Duplicate
keys, keys that are not text, tags and numbers that are not finite are problems. So are numbers whose value
would differ from their written form: ``1_000`` and ``0b11`` (not numbers in YAML 1.2), ``1e-400`` (0 in
double precision), whole numbers beyond 64 bits. Anchors and aliases work; merge keys (``<<``) are not part of
YAML 1.2.

The size with every alias expanded and the depth are computed from the parser's events before anything is
built, because a few nested aliases expand to billions of values, and building deep values overflows the
stack. All YAML of zobench is read here; the files of lm-eval tasks, which the harness reads itself, pass
:func:`check_size` first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import TagToken

KeyPath = tuple[str | int, ...]
"""Path of a value in the document: ``("methods", "mezo", "params", "lr")``; integers index lists."""

MOST_BYTES = 2**20
MOST_VALUES = 200_000
MOST_LEVELS = 50
MOST_PROBLEMS = 100
"""Number of problems after which reading a file stops."""
MOST_WHOLE = 2**63 - 1
"""Largest whole number of a suite, and largest seed: what a 64-bit column of the results holds."""
_TEXT = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp")
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp")}
_NUMBER = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
)
"""Finite numbers of the core schema of YAML 1.2 (section 10.3.2)."""


class StrictYamlError(ValueError):
    """The file cannot be read at all: ``line`` from 1, ``reason``."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.line, self.reason = line, reason


@dataclass(slots=True)
class Contents:
    """Plain values of a file, the line of each key, the problems in order (path, line, message, hint).
    ``scalars`` is the constructor of numbers and truth values; making one for each value would be slow."""

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[KeyPath, int, str, str]] = field(default_factory=list)
    scalars: Any = field(default_factory=lambda: YAML(typ="safe", pure=True).constructor, repr=False)

    def report(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Record a problem at ``path``, which has a line, or at its nearest ancestor that has one."""
        at = path
        while at and at not in self.lines:
            at = at[:-1]
        self.problems.append((path, self.lines.get(at, 1), message, hint))
        if len(self.problems) >= MOST_PROBLEMS:
            raise _Enough


class _Enough(Exception):
    """There are so many problems that the rest of the file is not read."""


def read(path: Path) -> Contents:
    """The plain values of the file, with its problems.

    Raises:
        StrictYamlError: not UTF-8, not YAML, or larger or deeper than the limits of this module.
    """
    root, found = _compose(path, text_of(path)), Contents()
    try:
        if root is not None:
            found.value = _value(root, (), found, frozenset())
    except _Enough:
        found.problems.append(((), 1, f"more than {MOST_PROBLEMS} problems; only the first are shown", ""))
    return found


def check_size(path: Path, events: Iterable[Any]) -> None:
    """Refuse a document that is nested too deeply, or too large with every alias expanded.

    Args:
        events: those of ruamel.yaml or of PyYAML, whose classes have the same names.

    Raises:
        StrictYamlError: with the line at which the limit is exceeded.
    """
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []  # anchor and size so far of the collections around an event
    for event in events:
        kind, line = type(event).__name__, event.start_mark.line + 1
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            open_.append((event.anchor, 1))
            if len(open_) > MOST_LEVELS + 1:
                raise StrictYamlError(path, line, f"nested more than {MOST_LEVELS} levels deep")
            continue
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            anchor, size = open_.pop()
        elif kind == "AliasEvent":  # one that contains itself has no size yet; _value reports it
            anchor, size = None, sizes.get(event.anchor, 1)
        elif kind == "ScalarEvent":
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        if open_:
            open_[-1] = (open_[-1][0], open_[-1][1] + size)
            size = open_[-1][1]
        if size > MOST_VALUES:
            raise StrictYamlError(path, line, f"more than {MOST_VALUES:,} values with every alias expanded")


def text_of(path: Path) -> str:
    """The file's text; :class:`StrictYamlError` if it is too large or cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise StrictYamlError(path, 1, f"larger than {MOST_BYTES:,} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StrictYamlError(path, 1, f"cannot be read: {reason}") from error


def _compose(path: Path, text: str) -> Node | None:
    try:
        if "!<" in text:
            _refuse_verbatim_tags(path, text)
        check_size(path, YAML(typ="safe", pure=True).parse(text))
        return YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        message = error.problem or error.context or "not YAML"
        raise StrictYamlError(path, line, f"not valid YAML: {message}") from error
    except YAMLError as error:
        raise StrictYamlError(path, 1, f"not valid YAML: {' '.join(str(error).split())}") from error


def _refuse_verbatim_tags(path: Path, text: str) -> None:
    """``!<tag:yaml.org,2002:int> 1``: in the composed tree such a tag can no longer be seen."""
    for token in YAML(typ="safe", pure=True).scan(text):
        if isinstance(token, TagToken) and token.value[0] is None:
            raise StrictYamlError(path, token.start_mark.line + 1, "; ".join(_tagged(token.value[1])))


def _tagged(tag: object) -> tuple[str, str]:
    return f"tag {str(tag)[:80]!r} is not allowed", "write a plain value"


def _value(node: Node, path: KeyPath, found: Contents, above: frozenset[int]) -> Any:
    if id(node) in above:
        found.report(path, "an alias that contains itself")
        return None
    if node.ctag.handle is not None:
        found.report(path, *_tagged(node.tag))
        return None
    if isinstance(node, MappingNode):
        return _mapping(node, path, found, above | {id(node)})
    if isinstance(node, SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            found.lines[here] = item.start_mark.line + 1
            items.append(_value(item, here, found, above | {id(node)}))
        return items
    assert isinstance(node, ScalarNode)
    return _scalar(node, path, found)


def _mapping(node: MappingNode, path: KeyPath, found: Contents, above: frozenset[int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            found.lines[(*path, "?")] = line
            found.report((*path, "?"), "a key must be text")
            continue
        key = key_node.value
        here = (*path, key)
        first = found.lines.get(here)
        found.lines[here] = line
        if not _writable(key):
            found.report(here, "the key contains half of a surrogate pair")
        elif key in values:
            found.report(here, f"duplicate key (first on line {first})")
            assert first is not None
            found.lines[here] = first
        else:
            values[key] = _value(value_node, here, found, above)
    return values


def _writable(text: str) -> bool:
    """Whether the text can be written as UTF-8: an escape such as ``"\\ud800"`` alone cannot."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _scalar(node: ScalarNode, path: KeyPath, found: Contents) -> Any:
    tag = str(node.tag)
    if tag not in _SCALARS:
        found.report(path, *_tagged(tag))
        return None
    if tag in _TEXT:
        if not _writable(node.value):
            found.report(path, "a text contains half of a surrogate pair")
        return node.value
    try:
        value = found.scalars.construct_object(node)
    except (ValueError, KeyError, IndexError, YAMLError):
        kind = tag.rpartition(":")[2]
        found.report(path, f"{node.value[:40]!r} is not a valid {kind}", "write a plain value")
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        wrong = _not_as_written(value, node.value)
        if wrong is not None:
            found.report(path, *wrong)
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
