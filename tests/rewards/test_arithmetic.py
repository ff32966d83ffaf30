"""Expressions are read exactly, without evaluating code, and everything else is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest

from zobench.data.arithmetic import first_line, parse, solves


@pytest.mark.parametrize(
    ("text", "value", "numbers"),
    [
        ("3 * 5 + 7", 22, (3, 5, 7)),
        ("3*(5+7)", 36, (3, 5, 7)),
        ("10 - 4 - 3", 3, (10, 4, 3)),
        ("8 / 4 / 2", 1, (8, 4, 2)),
        ("1 / 3", Fraction(1, 3), (1, 3)),
        ("6 × 7 ÷ 2 − 1", 20, (6, 7, 2, 1)),
        ("((2))", 2, (2,)),
        ("0 + 10", 10, (0, 10)),
    ],
)
def test_values_are_exact(text: str, value: object, numbers: tuple[int, ...]) -> None:
    found = parse(text)
    assert (found.value, found.numbers) == (value, numbers)


REFUSED = (
    *("", " ", "3 +", "+ 3", "-3 + 5", "(3", "3)", "3 5", "3 ** 5", "3 // 5", "007", "1.5", "2e3", "1_000"),
    *("a", "3 = 3", "__import__('os')", "3\x00", "٣ + 1", "²", "(" * 40 + "1" + ")" * 40, "1+" * 150 + "1"),
)


@pytest.mark.parametrize("text", REFUSED)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expression|expected|closed|parenthes"):
        parse(text)


def test_a_division_by_zero_has_no_value() -> None:
    assert parse("4 / (2 - 2)").value is None
    assert not solves("4 / (2 - 2)", [4, 2, 2], Fraction(0))


def test_each_number_is_used_exactly_once() -> None:
    assert solves("7 + 3 * 5", [3, 5, 7], Fraction(22))
    assert not solves("7 + 15", [3, 5, 7], Fraction(22))
    assert not solves("3 * 5 + 7 + 3 - 3", [3, 5, 7], Fraction(22))
    assert not solves("3 * 5", [3, 5, 7], Fraction(15))
    assert solves("1 / 3", [1, 3], Fraction("0.333333"))


def test_an_answer_is_its_first_line_up_to_the_equals_sign() -> None:
    assert first_line(" 3 * 5 = 15\nmore") == "3 * 5"
