"""Premise and hypothesis: does the first make the second true (0), false (1), or neither (2)?

Families: comparisons of two people, quantified kinds, where somebody is, and two quantifiers over the same
things.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from zobench.data.synthetic.vocabulary import NAMES

OPPOSITES = (("taller", "shorter"), ("older", "younger"), ("faster", "slower"), ("richer", "poorer"))
KINDS = ("cats", "dogs", "birds", "frogs", "cows", "ducks", "pigs", "mice")
TRAITS = ("small", "loud", "quiet", "hungry", "wild", "tame", "sleepy", "lazy")
PLACES = ("park", "school", "garden", "hall", "museum", "office", "forest", "station")
COUNTING: tuple[tuple[tuple[str, str], ...], ...] = (
    (("all", "some"), ("all", "most"), ("no", "not all"), ("most", "some")),
    (
        ("all", "no"),
        ("all", "not all"),
        ("no", "all"),
        ("no", "some"),
        ("no", "most"),
        ("some", "no"),
        ("most", "no"),
    ),
    (("some", "all"), ("some", "not all"), ("some", "most"), ("most", "all"), ("most", "not all")),
)
"""Pairs (premise, hypothesis) of quantifiers over the same things, by label."""
MATCHING = ("comparison", "quantifier", "place")
"""Families that need names, kinds or places to be matched."""
CLASSES = ("entailed", "contradicted", "open")
FORMATS: tuple[tuple[str, tuple[str, str, str]], ...] = (
    ("Given: {premise}. Claim: {hypothesis}.\nVerdict:", (" correct", " wrong", " open")),
    ("{premise}. So {hypothesis}. Logic:", (" follows", " clashes", " unknown")),
)


@dataclass(frozen=True, slots=True)
class SentencePair:
    premise: str
    hypothesis: str
    label: int
    family: str
    hardness: int

    @property
    def text(self) -> str:
        return f"{self.premise}. {self.hypothesis}"


def _comparison(rng: random.Random, label: int) -> SentencePair:
    a, b, c = rng.sample(NAMES, 3)
    i, j = rng.sample(range(len(OPPOSITES)), 2)
    more, less = rng.sample(OPPOSITES[i], 2)
    premise = f"{a} is {more} than {b}"
    if label == 0:
        hypothesis = f"{b} is {less} than {a}"
    elif label == 1:
        hypothesis = rng.choice((f"{b} is {more} than {a}", f"{a} is {less} than {b}"))
    else:
        other = rng.choice(OPPOSITES[j])
        hypothesis = rng.choice(
            (
                f"{b} is {other} than {a}",
                f"{a} is {other} than {b}",
                f"{a} is {more} than {c}",
                f"{c} is {less} than {a}",
            )
        )
    return SentencePair(premise, hypothesis, label, "comparison", 1)


def _quantifier(rng: random.Random, label: int) -> SentencePair:
    kind, other = rng.sample(KINDS, 2)
    trait, unlike = rng.sample(TRAITS, 2)
    options = (
        (
            (f"all {kind} are {trait}", f"some {kind} are {trait}"),
            (f"no {kind} are {trait}", f"some {kind} are not {trait}"),
        ),
        (
            (f"all {kind} are {trait}", f"no {kind} are {trait}"),
            (f"all {kind} are {trait}", f"some {kind} are not {trait}"),
            (f"no {kind} are {trait}", f"some {kind} are {trait}"),
            (f"no {kind} are {trait}", f"all {kind} are {trait}"),
            (f"some {kind} are {trait}", f"no {kind} are {trait}"),
        ),
        (
            (f"all {kind} are {trait}", f"some {other} are {trait}"),
            (f"all {kind} are {trait}", f"no {kind} are {unlike}"),
            (f"no {kind} are {trait}", f"some {kind} are {unlike}"),
            (f"some {kind} are {trait}", f"all {kind} are {trait}"),
        ),
    )
    premise, hypothesis = rng.choice(options[label])
    return SentencePair(premise, hypothesis, label, "quantifier", 1)


def _place(rng: random.Random, label: int) -> SentencePair:
    a, b = rng.sample(NAMES, 2)
    here, there = rng.sample(PLACES, 2)
    options = (
        (
            (f"{a} is in the {here}", f"{a} is not in the {there}"),
            (f"{a} and {b} are in the {here}", f"{b} is in the {here}"),
        ),
        (
            (f"{a} is in the {here}", f"{a} is in the {there}"),
            (f"{a} is in the {here}", f"{a} is not in the {here}"),
        ),
        (
            (f"{a} is in the {here}", f"{b} is in the {there}"),
            (f"{a} is in the {here}", f"{b} is not in the {here}"),
        ),
    )
    premise, hypothesis = rng.choice(options[label])
    return SentencePair(premise, hypothesis, label, "place", 0)


def _counting(rng: random.Random, label: int) -> SentencePair:
    first, second = rng.choice(COUNTING[label])
    kind, place, trait = rng.choice(KINDS), rng.choice(PLACES), rng.choice(TRAITS)
    return SentencePair(
        f"{first} {kind} in the {place} are {trait}",
        f"{second} of them are {trait}",
        label,
        "counting",
        int(first == "most" or second == "not all"),
    )


FAMILIES = {"comparison": _comparison, "quantifier": _quantifier, "place": _place, "counting": _counting}


def draw(rng: random.Random, *, family: str | None = None, label: int | None = None) -> SentencePair:
    """One pair; the label is uniform unless given, the family uniform over :data:`MATCHING` unless given."""
    label = rng.randrange(3) if label is None else label
    return FAMILIES[family if family is not None else rng.choice(MATCHING)](rng, label)
