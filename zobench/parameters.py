"""Parameters of methods, tasks and attacks, checked against the frozen dataclass ``Config`` of their class.

Types are taken from the annotations and checked as strict JSON: a list may fill a tuple, a whole number a
float, and nothing else is converted. The dataclass's own ``__post_init__`` has the last word.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from zobench.names import suggestion

_LISTS = (list, tuple, set, frozenset, Sequence)


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """``parameter`` is ``None`` where the mistake belongs to several together."""

    parameter: str | None
    message: str
    hint: str = ""


def fields(config: type) -> dict[str, dataclasses.Field[Any]]:
    """The parameters of a ``Config``, by name; ``ValueError`` if it is not a dataclass."""
    if not dataclasses.is_dataclass(config):
        raise ValueError(f"{config!r} is not a dataclass: a Config must be a frozen dataclass")
    return {f.name: f for f in dataclasses.fields(config) if f.init}


def check_one(config: type, name: str, value: Any) -> ParameterProblem | None:
    """What is wrong with one parameter by itself; ``None`` if nothing is."""
    known = fields(config)
    if name not in known:
        return ParameterProblem(name, "unknown parameter", suggestion(name, known) or "it takes none")
    hint = get_type_hints(config)[name]
    if isinstance(value, list) and not _takes_list(hint):
        message = f"is one value ({describe(hint)}), not a list: params are literal"
        return ParameterProblem(name, message, "for one row per value write it under 'sweep:'")
    try:
        _coerce(hint, value)
    except ValidationError:
        choices = [str(c) for c in _choices(hint)]
        near = suggestion(value, choices) if choices and isinstance(value, str) else ""
        return ParameterProblem(name, f"must be {describe(hint)}, not {value!r}", near)
    except ValueError as error:
        return ParameterProblem(name, str(error))
    return None


def check(config: type, params: Mapping[str, Any]) -> list[ParameterProblem]:
    """Everything that is wrong with ``params``: unknown names, types, missing ones, then the dataclass's own
    check."""
    found = [p for name, value in params.items() if (p := check_one(config, name, value))]
    for name, spec in fields(config).items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and name not in params:
            hint = get_type_hints(config)[name]
            found.append(ParameterProblem(None, f"parameter {name!r} ({describe(hint)}) is missing"))
    if found:
        return found
    try:
        configure(config, params)
    except (ValueError, TypeError) as error:
        found.append(ParameterProblem(_blamed(str(error), params), str(error)))
    return found


def configure(config: type, params: Mapping[str, Any]) -> Any:
    """``config(**params)`` with JSON values brought to the annotated types (lists to tuples).

    Raises:
        ValueError: from the dataclass's own check, or naming an unknown or wrongly typed parameter.
    """
    known = fields(config)
    hints = get_type_hints(config)
    for name in params:
        if name not in known:
            raise ValueError(f"unknown parameter {name!r}; {suggestion(name, known)}")
    try:
        values = {name: _coerce(hints[name], value) for name, value in params.items()}
    except ValidationError as error:
        raise ValueError(f"parameters of {config.__qualname__}: {error.errors()[0]['msg']}") from error
    return config(**values)


def literal(instance: Any) -> dict[str, Any]:
    """All parameters of a ``Config`` instance with defaults filled in, as plain JSON values."""
    hints = get_type_hints(type(instance))
    return {
        name: TypeAdapter(hints[name]).dump_python(getattr(instance, name), mode="json")
        for name in fields(type(instance))
    }


def describe(hint: Any) -> str:
    """A type as a reader of the suite file would say it."""
    plain = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    if hint in plain:
        return plain[hint]
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(describe(a) for a in get_args(hint))
    if get_origin(hint) in _LISTS:
        inner = next((a for a in get_args(hint) if a is not Ellipsis), None)
        return "a list" if inner is None else f"a list ({describe(inner)} each)"
    return getattr(hint, "__name__", str(hint))


def _coerce(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return configure(hint, value)
    return TypeAdapter(hint).validate_json(json.dumps(value), strict=True)


def _takes_list(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_takes_list(a) for a in get_args(hint))
    return hint is Any or (get_origin(hint) or hint) in _LISTS


def _choices(hint: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [c for a in get_args(hint) for c in _choices(a)] if get_origin(hint) in (Union, UnionType) else []


def _blamed(message: str, params: Mapping[str, Any]) -> str | None:
    """The one parameter that a ``__post_init__`` message begins with, if the user gave it."""
    first = message.replace("'", " ").replace(":", " ").split()
    return first[0] if first and first[0] in params else None
