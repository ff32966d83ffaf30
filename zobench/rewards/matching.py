"""Rewards that compare the answer with the example's correct one, by the rules of ``tasks/matching.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zobench.parameters import Count, CountOrZero, Fraction, Parameters
from zobench.rewards.base import Answered, Reward, gold_of
from zobench.tasks.matching import MatchRule, is_right

Rule = Literal["exact", "number", "math"]


@dataclass(frozen=True)
class NoParameters(Parameters):
    """These rewards have no parameters."""


class MatchReward(Reward):
    """1 if the answer equals the correct one by ``rule``, else 0."""

    Config: ClassVar[type] = NoParameters
    rule: ClassVar[MatchRule]

    def score(self, one: Answered) -> float:
        return float(is_right(one.answer, gold_of(one.example), self.rule, rouge_threshold=1.0))


class ExactReward(MatchReward):
    """The text equals the correct one; white space counts as a single space."""

    rule = "exact"


class NumberReward(MatchReward):
    """The number extracted from the answer equals the correct one exactly (18 = 18.0 = 36/2)."""

    rule = "number"


class MathReward(MatchReward):
    """As ``number``; equivalent formulas match as well."""

    rule = "math"


@dataclass(frozen=True)
class ShortMatchConfig(Parameters):
    match: Rule = "math"
    """Rule of comparison."""
    free: CountOrZero = 0
    """Number of words without a penalty."""
    limit: Count = 100
    """Number of words beyond ``free`` at which the penalty is complete."""
    penalty: Fraction = 0.5
    """Largest share of the score that length can cost."""


class ShortMatchReward(Reward):
    """match * (1 - penalty * min(1, max(0, words - free) / limit)): a right answer is worth more if short."""

    Config: ClassVar[type] = ShortMatchConfig
    config: ShortMatchConfig

    def score(self, one: Answered) -> float:
        c = self.config
        right = is_right(one.answer, gold_of(one.example), c.match, rouge_threshold=1.0)
        beyond = max(0, len(one.answer.split()) - c.free)
        return float(right) * (1.0 - c.penalty * min(1.0, beyond / c.limit))
