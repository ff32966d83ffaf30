"""What each parameter of a ``Config`` means: its type in words, its default, and its docstring.

A meaning is written either as a line of the section ``Attributes:`` of the class's docstring or as a string
below the field; the class's own text comes before that of its bases.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from zobench.parameters import fields
from zobench.zo.parameters import hints_of, words

REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One parameter as text.

    Attributes:
        type: the allowed values in words, as in error messages.
        default: as it is written in a suite file, or ``required``.
        meaning: one line; empty if the class does not document the parameter.
    """

    name: str
    type: str
    default: str
    meaning: str


def meanings(config: type) -> list[Meaning]:
    """All parameters of a ``Config``, in its order; ``ValueError`` if it is not a dataclass."""
    known, hints = fields(config), hints_of(config)
    told: dict[str, str] = {}
    for cls in reversed(config.__mro__):
        told |= _written(cls)
    return [
        Meaning(name, words(hints[name]), _default(spec), told.get(name, "")) for name, spec in known.items()
    ]


def _default(spec: dataclasses.Field[Any]) -> str:
    if spec.default_factory is not dataclasses.MISSING:
        value = spec.default_factory()
    elif spec.default is dataclasses.MISSING:
        return REQUIRED
    else:
        value = spec.default
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _written(cls: type) -> dict[str, str]:
    """What the class's own source says of its fields; nothing for classes without source."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    if not isinstance(body, ast.ClassDef):
        return {}
    found = _attributes(ast.get_docstring(body) or "")
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = _plain(below.value.value)
    return found


def _plain(docstring: str) -> str:
    """One line, without the marks of code."""
    return " ".join(docstring.replace("``", "").split())


def _attributes(docstring: str) -> dict[str, str]:
    """The entries of the section ``Attributes:``; an entry may name several fields (``a, b: ...``)."""
    section = re.search(r"^(?:Attributes|Args):\n((?:[ ]{4}.*\n?|\n)*)", docstring, re.M)
    found: dict[str, str] = {}
    for names, said in re.findall(
        r"^ {4}([\w`, ]+?):\s+((?:.|\n {5,})*)", section[1] if section else "", re.M
    ):
        for name in re.findall(r"\w+", names):
            found[name] = _plain(said)
    return found
