"""Parameters of methods, tasks and attacks, checked against the frozen dataclass ``Config`` of their class.

pydantic checks each value against the annotation of its field as strict JSON. Only two conversions are made:
a list to a tuple and a whole number to a float. Constraints are part of the annotation. Their types are
defined in :mod:`zobench.zo.parameters`; packages other than ``zo`` import them from here. The dataclass's own
``__post_init__`` runs last and may reject the parameters as well.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from zobench.names import suggestion
from zobench.zo.parameters import (
    Bounds,
    Constraint,
    Count,
    CountOrZero,
    Fraction,
    NonEmpty,
    OneOf,
    Parameters,
    Positive,
    PositiveFraction,
    Rate,
    hints_of,
    near,
    words,
)

__all__ = [
    "Bounds",
    "Count",
    "CountOrZero",
    "DataFile",
    "Fraction",
    "NonEmpty",
    "OneOf",
    "ParameterProblem",
    "Parameters",
    "Positive",
    "PositiveFraction",
    "Rate",
    "check",
    "check_one",
    "configure",
    "data_files",
    "fields",
    "literal",
]

_LISTS = (list, tuple, set, frozenset, Sequence)


@dataclass(frozen=True)
class FilePath(Constraint):
    """The path of a file, relative to the suite file. The content is part of a run's identity,
    the path is not."""

    def allows(self, value: Any) -> bool:
        return bool(value.strip())

    def words(self, base: Any) -> str:
        return "the path of a file"


DataFile = Annotated[str, FilePath()]
"""A data file of the user."""


def data_files(config: type) -> tuple[str, ...]:
    """Names of the parameters that are data files."""
    return tuple(name for name, hint in hints_of(config).items() if _is_file(hint))


def _is_file(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return any(isinstance(rule, FilePath) for rule in get_args(hint)[1:])
    return any(_is_file(inside) for inside in get_args(hint))


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """``parameter`` is ``None`` if the problem concerns several parameters together."""

    parameter: str | None
    message: str
    hint: str = ""


def fields(config: type) -> dict[str, dataclasses.Field[Any]]:
    """The parameters of a ``Config``, by name; ``ValueError`` if it is not a dataclass."""
    if not dataclasses.is_dataclass(config):
        raise ValueError(f"{config!r} is not a dataclass: a Config must be a frozen dataclass")
    return {f.name: f for f in dataclasses.fields(config) if f.init}


def check_one(config: type, name: str, value: Any) -> ParameterProblem | None:
    """The problem with a single parameter, or ``None`` if it is valid."""
    known = fields(config)
    if name not in known:
        return ParameterProblem(name, "unknown parameter", suggestion(name, known) or "it takes none")
    hint = hints_of(config)[name]
    if isinstance(value, list) and not _takes_list(hint):
        message = f"is one value ({words(hint)}), not a list: params are literal"
        return ParameterProblem(name, message, "for one row per value write it under 'sweep:'")
    try:
        _coerce(config, name, value)
    except ValidationError:
        return ParameterProblem(
            name, f"must be {words(hint)}, not {value!r}", near(hint, value).removeprefix("; ")
        )
    except ValueError as error:
        return ParameterProblem(name, str(error))
    return None


def check(config: type, params: Mapping[str, Any]) -> list[ParameterProblem]:
    """All problems with ``params``: unknown names, wrong types, violated constraints and missing parameters.
    The dataclass's own check runs only if there are none of these."""
    found = [p for name, value in params.items() if (p := check_one(config, name, value))]
    for name, spec in fields(config).items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and name not in params:
            wanted = words(hints_of(config)[name])
            found.append(ParameterProblem(None, f"parameter {name!r} ({wanted}) is missing"))
    if found:
        return found
    try:
        configure(config, params)
    except (ValueError, TypeError) as error:
        found.append(ParameterProblem(_blamed(str(error), params), str(error)))
    return found


def configure(config: type, params: Mapping[str, Any]) -> Any:
    """``config(**params)`` with JSON values converted to the annotated types (lists to tuples).

    Raises:
        ValueError: a parameter is unknown or invalid, or the dataclass's own check fails.
    """
    known = fields(config)
    for name in params:
        if name not in known:
            raise ValueError(f"unknown parameter {name!r}; {suggestion(name, known)}")
    values = {}
    for name, value in params.items():
        try:
            values[name] = _coerce(config, name, value)
        except ValidationError as error:
            told = f"{name} must be {words(hints_of(config)[name])}, not {value!r}"
            raise ValueError(f"parameters of {config.__qualname__}: {told}") from error
    return config(**values)


def literal(instance: Any) -> dict[str, Any]:
    """All parameters of a ``Config`` instance with defaults filled in, as plain JSON values."""
    config: Any = type(instance)
    return {
        name: _adapter(config, name).dump_python(getattr(instance, name), mode="json")
        for name in hints_of(config)
    }


@cache
def _adapter(config: Any, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(hints_of(config)[name])


def _coerce(config: type, name: str, value: Any) -> Any:
    hint = hints_of(config)[name]
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return configure(hint, value)
    return _adapter(config, name).validate_json(json.dumps(value), strict=True)


def _takes_list(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _takes_list(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return any(_takes_list(a) for a in get_args(hint))
    return hint is Any or (get_origin(hint) or hint) in _LISTS


def _blamed(message: str, params: Mapping[str, Any]) -> str | None:
    """The parameter that a ``__post_init__`` message begins with, if the user set it."""
    first = message.replace("'", " ").replace(":", " ").split()
    return first[0] if first and first[0] in params else None
