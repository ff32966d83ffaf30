"""Opinions: plain, negated, and with two clauses of opposite sentiment, where the main clause decides.

Label 0 is negative, 1 positive. ``hardness`` is the number of negations and second clauses.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from zobench.data.synthetic.draw import words

THINGS = words("film soup room book song hotel game meal show trip phone story shop chair class party")
POSITIVE = words(
    "good lovely superb charming pleasant exciting clever fresh perfect nice smart smooth bright fun"
)
NEGATIVE = words("bad dull awful poor boring ugly weak broken nasty messy slow stale grim rude")
CLASSES = ("negative", "positive")
FORMATS: tuple[tuple[str, tuple[str, str]], ...] = (
    ("Review: {text}.\nFeeling:", (" negative", " positive")),
    ("{text}. Opinion:", (" unhappy", " happy")),
    ("Note: {text}. Praise:", (" false", " true")),
)
"""Prompt and label words of the language-model text; few-shot tasks use neither."""


@dataclass(frozen=True, slots=True)
class Opinion:
    text: str
    label: int
    hardness: int
    words: tuple[str, ...]


def _clause(rng: random.Random, label: int, thing: str, negated: bool) -> tuple[str, str]:
    adjective = rng.choice(
        (POSITIVE if label else NEGATIVE) if not negated else (NEGATIVE if label else POSITIVE)
    )
    adverb = rng.choice(("", "", "very ", "really "))
    return f"the {thing} was {'not ' if negated else ''}{adverb}{adjective}", adjective


def draw(
    rng: random.Random,
    *,
    negation: float = 0.3,
    contrast: float = 0.4,
    joined: float = 0.0,
    label: int | None = None,
) -> Opinion:
    """One opinion.

    Args:
        negation: probability of a negation, per clause.
        contrast: probability of a second clause of opposite sentiment, which does not affect the label.
        joined: otherwise, probability of a second clause of the same sentiment.
    """
    label = rng.randrange(2) if label is None else label
    first, second = rng.sample(THINGS, 2)
    negated = rng.random() < negation
    main, word = _clause(rng, label, first, negated)
    if rng.random() >= contrast:
        if joined and rng.random() < joined:
            also_negated = rng.random() < negation
            more, other = _clause(rng, label, second, also_negated)
            return Opinion(f"{main} and {more}", label, int(negated) + also_negated, (word, other))
        return Opinion(main, label, int(negated), (word,))
    other_negated = rng.random() < negation
    side, other = _clause(rng, 1 - label, second, other_negated)
    text = rng.choice(
        (f"{side} but {main}", f"{main} although {side}", f"although {side} {main}", f"{main} even if {side}")
    )
    return Opinion(text, label, 1 + negated + other_negated, (word, other))
