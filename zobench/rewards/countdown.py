"""Countdown: reach a target from given numbers, each used exactly once (the task of arXiv 2509.24372).

score = right + format_weight * format

right: 1 if the answer's expression has exactly the given numbers and its value differs from the target by at
most 1e-5, else 0. A division by zero is wrong.

``form: tags`` is the published format: the whole response is a think block, a newline and an answer block
(format 1; otherwise 0.1 for a think block plus 0.5 for an answer block), and the last answer block holds the
expression. A ``<think>`` at the end of the prompt counts as the beginning of the response.
``form: plain``, for models without such blocks: the first line of the answer, up to ``=``, is the expression,
and format is 1 if it can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

from zobench.data.arithmetic import first_line, is_expression, solves
from zobench.parameters import Parameters, Rate
from zobench.rewards.base import Answered, Reward, field_of
from zobench.rewards.form import answer_block, graded


@dataclass(frozen=True)
class CountdownConfig(Parameters):
    form: Literal["plain", "tags"] = "plain"
    """``plain``: the first line is the expression; ``tags``: think and answer blocks."""
    format_weight: Rate = 0.1
    """Weight of the format in the score."""
    numbers: str = "numbers"
    """Field of the example with the given numbers: a list, or text."""
    target: str = "target"
    """Field of the example with the target."""


class CountdownReward(Reward):
    """1 for an expression that reaches the target, and a small part for the format."""

    Config: ClassVar[type] = CountdownConfig
    config: CountdownConfig

    def score(self, one: Answered) -> float:
        c = self.config
        if c.form == "tags":
            response = ("<think>" if one.prompt.rstrip().endswith("<think>") else "") + one.answer
            shape, text = graded(response), answer_block(response)
        else:
            text = first_line(one.answer)
            shape = float(is_expression(text))
        numbers = _whole(field_of(one.example, c.numbers))
        return (
            float(solves(text, numbers, _target(field_of(one.example, c.target)))) + c.format_weight * shape
        )


def _whole(value: object) -> list[int]:
    if isinstance(value, str):
        return [int(found) for found in re.findall(r"\d+", value)]
    if isinstance(value, Iterable):
        return [int(str(number)) for number in value]
    raise ValueError(f"the given numbers are {value!r}, neither a list nor text")


def _target(value: object) -> Fraction:
    return Fraction(str(value).strip())
