"""The form of a response: think and answer blocks, or a pattern of the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import regex

from zobench.parameters import Parameters
from zobench.rewards.base import Answered, Reward
from zobench.tasks.matching import pattern_problem

SECONDS = 1.0
"""Time limit of a pattern; a pattern that takes longer counts as not found, and as a failed score."""
_WHOLE = regex.compile(
    r"<think>(?:(?!</think>).)*</think>\n<answer>(?:(?!</answer>).)*</answer>", regex.DOTALL
)
_THINK = regex.compile(r"<think>.*?</think>", regex.DOTALL)
_ANSWER = regex.compile(r"<answer>(.*?)</answer>", regex.DOTALL)


def graded(response: str) -> float:
    """1 if the response is a think block, a newline and an answer block; otherwise 0.1 if it contains a think
    block plus 0.5 if it contains an answer block."""
    if _WHOLE.fullmatch(response.strip()):
        return 1.0
    return 0.1 * bool(_THINK.search(response)) + 0.5 * bool(_ANSWER.search(response))


def answer_block(response: str) -> str | None:
    """Content of the last answer block without outer white space; ``None`` if there is none."""
    found = _ANSWER.findall(response)
    return found[-1].strip() if found else None


@dataclass(frozen=True)
class FormatConfig(Parameters):
    pattern: str = ""
    """Regular expression that the whole answer must match; empty: think and answer blocks, graded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        problem = pattern_problem(self.pattern)
        if problem is not None:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {problem}")


class FormatReward(Reward):
    """Whether the answer has the wanted form, from 0 to 1."""

    Config: ClassVar[type] = FormatConfig
    config: FormatConfig

    def score(self, one: Answered) -> float:
        if not self.config.pattern:
            return graded(one.answer)
        whole = regex.fullmatch(self.config.pattern, one.answer.strip(), regex.DOTALL, timeout=SECONDS)
        return float(whole is not None)
