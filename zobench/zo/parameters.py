"""Types of parameters: a base type and the values that it may take, written as the annotation of a field.

    @dataclass(frozen=True)
    class MineConfig(Parameters):
        lr: Rate = 1e-6
        epsilon: Positive = 1e-3
        n: Annotated[int, Bounds(ge=2)] = 8
        draw: Literal["sign", "normal"] = "sign"

``MineConfig(lr=-1)`` raises ``ValueError("lr must be a finite number of at least 0, not -1")``. For a suite
file, the same message is reported with the line of the value. A dataclass without the base
:class:`Parameters` may use these types too, but then only values from suite files are checked.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


class Constraint:
    """A condition that an annotation adds to its base type, and its description."""

    def allows(self, value: Any) -> bool:
        """Whether a value of the base type meets the condition."""
        raise NotImplementedError

    def words(self, base: Any) -> str:
        """Description of the base type and the condition, as it follows "must be" in a message."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        # pydantic's protocol for annotations. Its schemas are plain dicts, so this module need not import it.
        check = {"type": "no-info", "function": self._checked}
        return {"type": "function-after", "function": check, "schema": handler(source)}

    def _checked(self, value: Any) -> Any:
        if not self.allows(value):
            raise ValueError("value outside its constraint")
        return value


@dataclass(frozen=True)
class Bounds(Constraint):
    """A finite number with limits: at least ``ge``, above ``gt``, at most ``le``, below ``lt``."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def allows(self, value: Any) -> bool:
        return (
            math.isfinite(value)
            and (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def words(self, base: Any) -> str:
        low = self.ge if self.gt is None else self.gt
        high = self.le if self.lt is None else self.lt
        if base is int and self.ge is not None and self.le is not None:
            return f"a whole number from {self.ge} to {self.le}"
        if low is not None and high is not None:
            ends = ("[" if self.gt is None else "(", "]" if self.lt is None else ")")
            return f"a {'whole ' if base is int else ''}number in {ends[0]}{low:g}, {high:g}{ends[1]}"
        limits = (("of at least", self.ge), ("above", self.gt), ("of at most", self.le), ("below", self.lt))
        told = "".join(f" {word} {limit:g}" for word, limit in limits if limit is not None)
        return f"a {'whole' if base is int else 'finite'} number{told}"


@dataclass(frozen=True)
class OneOf(Constraint):
    """One of the keys of a table. For values that are written out in the annotation, use ``Literal``."""

    names: tuple[Any, ...]

    def allows(self, value: Any) -> bool:
        return value in self.names

    def words(self, base: Any) -> str:
        return _listed(self.names)


@dataclass(frozen=True)
class NonEmpty(Constraint):
    """Non-empty text or a non-empty list."""

    def allows(self, value: Any) -> bool:
        return bool(value.strip() if isinstance(value, str) else value)

    def words(self, base: Any) -> str:
        said = words(base)
        return f"a non-empty {said.removeprefix('a ')}" if said.startswith("a ") else f"non-empty {said}"


Rate = Annotated[float, Bounds(ge=0)]
"""At least 0: learning rates, weight decay, weights of terms."""
Positive = Annotated[float, Bounds(gt=0)]
"""Above 0: smoothing radii, constants that keep a denominator positive."""
Fraction = Annotated[float, Bounds(ge=0, le=1)]
"""From 0 to 1: shares."""
PositiveFraction = Annotated[float, Bounds(gt=0, le=1)]
"""Above 0, at most 1: shares that must not be empty."""
FractionBelowOne = Annotated[float, Bounds(ge=0, lt=1)]
"""At least 0, below 1: momentum, decay rates of moments, sparsity. With 1, momentum and moments would never
change after the first value, and sparsity would keep no entry."""
Count = Annotated[int, Bounds(ge=1)]
"""A number of things, at least 1."""
CountOrZero = Annotated[int, Bounds(ge=0)]
"""A number of things, at least 0."""
Patterns = Annotated[Sequence[str], NonEmpty()]
"""A non-empty list of glob patterns of names."""


class Parameters:
    """Base of a frozen dataclass of parameters. Creating an instance checks every field against its
    annotation and raises ``ValueError`` if one does not match.

    A subclass with conditions between fields calls ``super().__post_init__()`` and then checks them.
    """

    def __post_init__(self) -> None:
        config: Any = type(self)
        for name, hint in hints_of(config).items():
            value = getattr(self, name)
            if not fits(hint, value):
                raise ValueError(f"{name} must be {words(hint)}, not {value!r}{near(hint, value)}")


@cache
def hints_of(config: Any) -> dict[str, Any]:
    """The parameters of a dataclass by name, with their annotations including constraints."""
    hints = get_type_hints(config, include_extras=True)
    return {f.name: hints[f.name] for f in fields(config) if f.init}


def fits(hint: Any, value: Any) -> bool:
    """Whether ``value`` has the annotated type and meets its constraints. Annotations of other types than
    those handled here accept every value."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        rules = [rule for rule in inside[1:] if isinstance(rule, Constraint)]
        return fits(inside[0], value) and all(rule.allows(value) for rule in rules)
    if origin in (Union, UnionType):
        return any(fits(one, value) for one in inside)
    if origin is Literal:
        # The types are compared too, because True == 1 and 1.0 == 1.
        return any(value == one and type(value) is type(one) for one in inside)
    if origin in (tuple, list, Sequence):
        return isinstance(value, (tuple, list)) and _each_fits(inside, value)
    plain: dict[Any, Any] = {int: Integral, float: Real, str: str, NoneType: NoneType}
    # bool is a subclass of int, but ``true`` in a suite file is not a number.
    return hint not in plain or (isinstance(value, plain[hint]) and not isinstance(value, bool))


def _each_fits(inside: tuple[Any, ...], value: Sequence[Any]) -> bool:
    if len(inside) > 1 and inside[1] is not Ellipsis:
        return len(value) == len(inside) and all(map(fits, inside, value))
    return not inside or all(fits(inside[0], one) for one in value)


def words(hint: Any) -> str:
    """Description of an annotation for readers of a suite file, as it follows "must be" in a message."""
    plain = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        rule = next((rule for rule in inside[1:] if isinstance(rule, Constraint)), None)
        return words(inside[0]) if rule is None else rule.words(inside[0])
    if origin is Literal:
        return _listed(inside)
    if origin in (Union, UnionType):
        return " or ".join(words(one) for one in inside)
    if (origin or hint) in (list, tuple, set, frozenset, Sequence):
        return f"a list ({words(inside[0])} each)" if inside else "a list"
    if (origin or hint) in (dict, Mapping):
        return "a mapping of keys"
    return plain[hint] if hint in plain else getattr(hint, "__name__", str(hint))


def choices(hint: Any) -> list[Any]:
    """The values that an annotation lists, also those inside a union or a list."""
    inside = get_args(hint)
    if get_origin(hint) is Literal:
        return list(inside)
    listed = [name for rule in inside if isinstance(rule, OneOf) for name in rule.names]
    return listed + [choice for one in inside for choice in choices(one)]


def near(hint: Any, value: Any) -> str:
    """``"; did you mean 'sign'?"`` if the value, or one in a list, resembles a listed one; otherwise
    empty."""
    known = [str(choice) for choice in choices(hint)]
    given = value if isinstance(value, (tuple, list)) else [value]
    meant = [nearest(one, known) for one in given if isinstance(one, str) and one not in known]
    return next((f"; {one}" for one in meant if one), "")


def nearest(name: str, valid: Iterable[str]) -> str:
    """``did you mean 'lora' or 'full'?``; empty if no valid name is similar."""
    close = difflib.get_close_matches(name, sorted(valid), n=2, cutoff=0.6)
    return "did you mean " + " or ".join(repr(c) for c in close) + "?" if close else ""


def _listed(values: Iterable[Any]) -> str:
    said = [repr(value) for value in values]
    return said[0] if len(said) == 1 else "one of " + ", ".join(said)
