"""Constrained parameter types: accepted values, messages for refused ones, and agreement with pydantic."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from zobench.plugins import entries
from zobench.zo.parameters import (
    Bounds,
    Constraint,
    Count,
    CountOrZero,
    Fraction,
    FractionBelowOne,
    NonEmpty,
    OneOf,
    Parameters,
    Positive,
    PositiveFraction,
    Rate,
    fits,
    hints_of,
    words,
)

Name = Annotated[str, OneOf(("nearest", "stochastic"))]
Bits = Annotated[int, Bounds(ge=2, le=8)]
NumberIn = Annotated[float, Bounds(gt=0, lt=1)]
HINTS = {
    Rate: "a finite number of at least 0",
    Positive: "a finite number above 0",
    Fraction: "a number in [0, 1]",
    PositiveFraction: "a number in (0, 1]",
    FractionBelowOne: "a number in [0, 1)",
    NumberIn: "a number in (0, 1)",
    Count: "a whole number of at least 1",
    CountOrZero: "a whole number of at least 0",
    Bits: "a whole number from 2 to 8",
    Name: "one of 'nearest', 'stochastic'",
    Literal["a", "b"]: "one of 'a', 'b'",
    Count | None: "a whole number of at least 1 or null",
    tuple[Bits, ...]: "a list (a whole number from 2 to 8 each)",
    tuple[Rate, Rate]: "a list (a finite number of at least 0 each)",
    Annotated[tuple[Name, ...], NonEmpty()]: "a non-empty list (one of 'nearest', 'stochastic' each)",
    Annotated[str, NonEmpty()]: "non-empty text",
}


@dataclass(frozen=True)
class Some(Parameters):
    lr: Rate = 1e-6
    rule: Name = "nearest"
    bits: tuple[Bits, ...] = (8, 4)
    most: Count | None = None


@pytest.mark.parametrize(("hint", "said"), HINTS.items(), ids=map(str, HINTS.values()))
def test_types_are_told_in_words(hint: Any, said: str) -> None:
    assert words(hint) == said


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10),
    st.floats(),
    st.sampled_from(["", " ", "a", "nearest", "x"]),
)


@settings(deadline=None)
@given(value=st.one_of(VALUES, st.lists(VALUES, max_size=3)))
@pytest.mark.parametrize("hint", HINTS, ids=map(str, HINTS.values()))
def test_a_config_takes_what_a_suite_takes(hint: Any, value: Any) -> None:
    try:
        TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        assert not fits(hint, value)
    else:
        assert fits(hint, value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lr": -1}, "lr must be a finite number of at least 0, not -1"),
        ({"lr": math.nan}, "lr must be a finite number of at least 0, not nan"),
        ({"lr": "1e-3"}, "lr must be a finite number of at least 0, not '1e-3'"),
        (
            {"rule": "nearst"},
            "rule must be one of 'nearest', 'stochastic', not 'nearst'; did you mean 'nearest'?",
        ),
        ({"rule": "zzz"}, "rule must be one of 'nearest', 'stochastic', not 'zzz'"),
        ({"bits": (8, 9)}, "bits must be a list (a whole number from 2 to 8 each), not (8, 9)"),
        ({"most": 0}, "most must be a whole number of at least 1 or null, not 0"),
        ({"most": True}, "most must be a whole number of at least 1 or null, not True"),
    ],
)
def test_a_config_made_in_python_is_checked(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        Some(**params)
    assert str(refused.value) == message


def _constrained(hint: Any) -> bool:
    return any(isinstance(part, Constraint) or _constrained(part) for part in get_args(hint))


@pytest.mark.parametrize("kind", ["methods", "tasks", "attacks", "objectives", "probes"])
def test_a_default_that_is_overridden_keeps_its_constraint(kind: Any) -> None:
    configs = {getattr(e.load(), "Config", None) for e in entries(kind).values() if e.origin == "builtin"}
    held = [c for c in configs if isinstance(c, type) and issubclass(c, Parameters)]
    for config in held:
        above = [c for c in config.__mro__[1:] if issubclass(c, Parameters) and c is not Parameters]
        for base in above:
            for name, hint in hints_of(base).items():
                assert _constrained(hints_of(config)[name]) or not _constrained(hint), (config, name)


def test_no_pydantic_is_needed() -> None:
    code = (
        "import sys; sys.modules['pydantic'] = sys.modules['annotated_types'] = None\n"
        "from zobench.zo.methods.mezo import Mezo\n"
        "try: Mezo.Config(lr=-1)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "lr must be a finite number of at least 0, not -1"
