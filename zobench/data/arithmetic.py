"""Reads arithmetic expressions of whole numbers, + - * / and parentheses, and computes their exact values.

Nothing is evaluated as code. Decisions where published countdown rewards differ or say nothing: the signs
``×``, ``·``, ``÷`` and ``−`` are accepted for ``*``, ``/`` and ``-``; numbers have no leading zeros; there is
no unary minus, because each number must be used as given; expressions are limited in length and depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 200
"""Characters of the longest expression."""
DEEPEST = 30
"""Parentheses inside one another."""
TOLERANCE = Fraction(1, 100_000)
"""Largest difference from a target."""
_TOKEN = re.compile(r"\s*(?:(0|[1-9][0-9]*)(?![0-9])|([-+*/()]))")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})


@dataclass(frozen=True, slots=True)
class Expression:
    """``numbers``: the numbers in the order written; ``value``: exact value, ``None`` after a division by
    zero."""

    numbers: tuple[int, ...]
    value: Fraction | None


def parse(text: str) -> Expression:
    """The expression ``text``. Cost: linear in its length.

    Raises:
        ValueError: the text is not an expression; the message says where.
    """
    if len(text) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters, this one {len(text)}")
    reader = _Reader(_tokens(text.translate(_SIGNS)))
    value = reader.sum(0)
    if reader.at < len(reader.tokens):
        raise ValueError(f"{reader.tokens[reader.at]!r} was not expected")
    return Expression(tuple(reader.numbers), value)


def _tokens(text: str) -> list[str]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text[at:].strip()[:20]!r} is no number, operator or parenthesis")
        found.append(match.group(1) or match.group(2))
        at = match.end()
    return found


class _Reader:
    """Recursive descent: sum = product {+ - product}, product = atom {* / atom}, atom = number or (sum)."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.numbers: list[int] = []

    def sum(self, depth: int) -> Fraction | None:
        value = self.product(depth)
        while (sign := self.next_of("+-")) is not None:
            value = _computed(value, sign, self.product(depth))
        return value

    def product(self, depth: int) -> Fraction | None:
        value = self.atom(depth)
        while (sign := self.next_of("*/")) is not None:
            value = _computed(value, sign, self.atom(depth))
        return value

    def atom(self, depth: int) -> Fraction | None:
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} parentheses inside one another")
        if self.next_of("("):
            value = self.sum(depth + 1)
            if not self.next_of(")"):
                raise ValueError("a parenthesis is not closed")
            return value
        if self.at == len(self.tokens) or not self.tokens[self.at].isdecimal():
            found = repr(self.tokens[self.at]) if self.at < len(self.tokens) else "the end"
            raise ValueError(f"a number was expected, not {found}")
        number = int(self.tokens[self.at])
        self.at += 1
        self.numbers.append(number)
        return Fraction(number)

    def next_of(self, signs: str) -> str | None:
        """The next token if it is one of ``signs``; it is then consumed."""
        if self.at < len(self.tokens) and self.tokens[self.at] in signs:
            self.at += 1
            return self.tokens[self.at - 1]
        return None


def _computed(left: Fraction | None, sign: str, right: Fraction | None) -> Fraction | None:
    if left is None or right is None:
        return None
    if sign == "/":
        return left / right if right else None
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


def is_expression(text: str) -> bool:
    """Whether the text is an expression."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


def solves(text: str | None, numbers: Iterable[int], target: Fraction) -> bool:
    """Whether the expression uses exactly these numbers and reaches the target."""
    try:
        found = parse(text or "")
    except ValueError:
        return False
    if sorted(found.numbers) != sorted(numbers) or found.value is None:
        return False
    return abs(found.value - target) <= TOLERANCE


def first_line(text: str) -> str:
    """The first line of an answer up to an equals sign, without outer white space."""
    return text.strip().split("\n")[0].partition("=")[0].strip()
