"""The interface of rewards: a score of (prompt, generated answer, example).

A reward is a class with parameters (``Config``), listed in ``zobench/rewards/catalogue.py`` or in the
entry-point group ``zobench.rewards``; or a function in a Python file of the user (:mod:`.own`). A score is
any finite number, larger is better. A score that raises an error, is not finite or exceeds its time limit
counts 0 and is counted as failed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from zobench.data.example import Example


@dataclass(frozen=True, slots=True)
class Answered:
    """A generated answer to be scored."""

    prompt: str
    answer: str
    example: Example


@dataclass(frozen=True, slots=True)
class Score:
    """``failure``: why the score could not be computed; empty if it was."""

    value: float
    failure: str = ""


class Reward(ABC):
    """Base class of rewards.

    Attributes:
        config: parameters, an instance of ``Config``, a frozen dataclass with defaults.
        tokens_read: tokens that another model has read to compute scores so far.
        failure: why the latest score that could not be computed has failed.
    """

    Config: ClassVar[type]
    config: Any
    revision: ClassVar[int] = 1
    """Version of the arithmetic; raised whenever the same answers would get other scores. Above 1 it is part
    of a run's identity."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.tokens_read = 0
        self.failure = ""

    @abstractmethod
    def score(self, one: Answered) -> float:
        """The score of one answer."""

    def scores(self, answered: Sequence[Answered]) -> list[Score]:
        """The scores of several answers, in order. A failed score counts 0."""
        return [guarded(lambda one=one: self.score(one)) for one in answered]  # type: ignore[misc]

    def digests(self) -> dict[str, str]:
        """Digests of everything besides the parameters that determines the scores (weights of a judge)."""
        return {}


def guarded(compute: Callable[[], object]) -> Score:
    """The score that ``compute`` returns, or 0 with the reason why it has none."""
    try:
        value = compute()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is counted, and the run continues
        return Score(0.0, f"{type(error).__name__}: {error}")
    return checked(value)


def checked(value: object) -> Score:
    """The score of a returned value: a finite number (``True`` and ``False`` count 1 and 0)."""
    if not isinstance(value, int | float):
        return Score(0.0, f"not a number: {value!r:.80}")
    if not math.isfinite(value):
        return Score(0.0, f"not finite: {value}")
    return Score(float(value))


def field_of(example: Example, name: str) -> object:
    """A field of the example by name: of its further data (``meta``) or of its text.

    ``ValueError`` if it has none of that name."""
    if name in example.meta:
        return example.meta[name]
    if name in example.text:
        return example.text[name]
    raise ValueError(
        f"example {example.id!r} has no field {name!r}; it has {sorted({*example.meta, *example.text})}"
    )


def gold_of(example: Example) -> str:
    """The example's correct answer; ``ValueError`` if it has none."""
    if example.answer is None:
        raise ValueError(f"example {example.id!r} has no correct answer to compare with")
    return example.answer
