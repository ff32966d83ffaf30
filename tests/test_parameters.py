"""Parameters checked against a dataclass: accepted and refused values; literal values come back unchanged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zobench.parameters import check, configure, literal
from zobench.zo.parameters import words


@dataclass(frozen=True, kw_only=True)
class Inner:
    a: int = 1


@dataclass(frozen=True, kw_only=True)
class Everything:
    lr: float = 1.0
    n: int = 1
    name: str = "x"
    flag: bool = False
    rule: Literal["a", "b"] = "a"
    betas: tuple[float, float] = (0.9, 0.99)
    words: tuple[str, ...] = ()
    clip: float | None = None
    inner: Inner = field(default_factory=Inner)


GOOD = {"lr": 1, "betas": [0, 1], "words": ["x"], "clip": 2, "inner": {"a": 3}, "rule": "b", "flag": True}


def test_values_are_brought_to_their_types() -> None:
    made = configure(Everything, GOOD)
    assert made == Everything(
        lr=1.0, betas=(0.0, 1.0), words=("x",), clip=2.0, inner=Inner(a=3), rule="b", flag=True
    )
    assert isinstance(made.lr, float)


@pytest.mark.parametrize(
    "params",
    [
        {"n": 1.5},
        {"n": True},
        {"n": "1"},
        {"flag": 1},
        {"name": 3},
        {"lr": "1e-3"},
        {"lr": None},
        {"words": "x"},
        {"words": [1]},
        {"betas": [1.0, 2.0, 3.0]},
        {"rule": "c"},
        {"clip": []},
        {"inner": {"b": 1}},
        {"nn": 1},
    ],
)
def test_nothing_else_is_converted(params: dict[str, object]) -> None:
    (problem,) = check(Everything, params)
    assert problem.parameter == next(iter(params))
    with pytest.raises(ValueError):
        configure(Everything, params)


@given(lr=st.floats(allow_nan=False, allow_infinity=False), n=st.integers(), words=st.lists(st.text()))
def test_literal_values_make_the_same_config_again(lr: float, n: int, words: list[str]) -> None:
    made = configure(Everything, {"lr": lr, "n": n, "words": words})
    assert configure(Everything, literal(made)) == made
    assert literal(configure(Everything, literal(made))) == literal(made)


def test_types_are_described_in_words() -> None:
    assert words(float | None) == "a number or null"
    assert words(tuple[int, ...]) == "a list (a whole number each)"
    assert words(Literal["a", 1]) == "one of 'a', 1"


def test_every_parameter_of_the_catalogues_says_what_it_means() -> None:
    from zobench.parameter_meanings import meanings
    from zobench.plugins import Kind, entries

    kinds: tuple[Kind, ...] = ("methods", "tasks", "attacks", "objectives", "probes", "rewards")
    for kind in kinds:
        for name, entry in entries(kind).items():
            if entry.origin == "builtin":
                silent = [m.name for m in meanings(entry.load().Config) if not m.meaning]
                assert not silent, f"{kind[:-1]} {name}: {silent} have no docstring"


def test_type_default_and_meaning_of_a_parameter() -> None:
    from zobench.parameter_meanings import meanings
    from zobench.rewards.judge import JudgeConfig
    from zobench.zo.methods.mezo import MezoConfig

    lr, *_, rule = meanings(MezoConfig)
    assert (lr.name, lr.default, lr.type) == ("lr", "1e-06", "a finite number of at least 0")
    assert lr.meaning == "step size eta."
    assert rule.meaning.startswith("tensors that decay: mezo (no bias or layer norm), ")
    assert rule.meaning.endswith("matrices.")
    assert next(m for m in meanings(JudgeConfig) if m.name == "model").default == "required"
