"""Checks of a reward: its scores are finite, repeatable, and any answer may be scored."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from zobench.conformance.global_state import unused_random_state
from zobench.data.example import Example
from zobench.parameters import configure
from zobench.rewards.base import Answered, Reward
from zobench.zo.conformance.subject import expect

PUZZLE = Example("e0", {"question": "Ann has 5 apples and gives 2 away. How many are left?"}, answer="3",
                 meta={"numbers": (5, 2), "target": 3})  # fmt: skip
ANSWERS = ("3", "The answer is 3.", " 5 - 2\n", "<think>5 - 2</think>\n<answer>5 - 2</answer>", "7", "no")
ODD = ("", " \n", "😀 הסרט", "a\x00b", "9" * 4000, "((((", "<answer>", "3 " * 3000)


@dataclass
class RewardSubject:
    """The reward class under test, with the parameters of its ``Config``."""

    found: type[Reward]
    params: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def reward(self) -> Reward:
        return self.found(configure(self.found.Config, self.params))


def _asked(answers: tuple[str, ...]) -> list[Answered]:
    return [Answered("Question: ?\nAnswer:", answer, PUZZLE) for answer in answers]


def finite(subject: RewardSubject) -> str:
    """Every score of usual answers is a finite number, and none fails."""
    with unused_random_state():
        found = subject.reward.scores(_asked(ANSWERS))
    for answer, score in zip(ANSWERS, found, strict=True):
        expect(not score.failure, f"{answer!r}: {score.failure}")
        expect(math.isfinite(score.value), f"{answer!r}: {score.value}")
    return ", ".join(f"{s.value:.3g}" for s in found)


def distinguishes(subject: RewardSubject) -> str:
    """Not all answers have the same score: otherwise no step would ever move."""
    values = {s.value for s in subject.reward.scores(_asked(ANSWERS))}
    expect(len(values) > 1, f"every answer of {list(ANSWERS)} scores {values}")
    return f"{len(values)} different scores of {len(ANSWERS)} answers"


def repeatable(subject: RewardSubject) -> str:
    """The same answers get the same scores, in any order, together and alone."""
    asked = _asked(ANSWERS)
    found = [s.value for s in subject.reward.scores(asked)]
    expect(found == [s.value for s in subject.reward.scores(asked)], "two calls give different scores")
    back = [s.value for s in subject.reward.scores(asked[::-1])][::-1]
    expect(found == back, f"in reverse order the scores are {back}, not {found}")
    alone = [subject.reward.scores([one])[0].value for one in asked]
    close = all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in zip(found, alone, strict=True))
    expect(close, f"alone the scores are {alone}, not {found}")
    return f"{len(ANSWERS)} answers"


def odd_answers(subject: RewardSubject) -> str:
    """Empty, long and broken answers are scored without an error."""
    for answer, score in zip(ODD, subject.reward.scores(_asked(ODD)), strict=True):
        expect(not score.failure, f"{answer[:20]!r}: {score.failure}")
    return f"{len(ODD)} answers"


SUBJECT = RewardSubject
CHECKS: dict[str, Callable[[RewardSubject], str]] = {
    "finite": finite,
    "distinguishes": distinguishes,
    "repeatable": repeatable,
    "odd-answers": odd_answers,
}
