"""Sentences that are irrelevant to the question, with or without a number."""

from __future__ import annotations

import random

from zobench.data.synthetic.vocabulary import COLOURS, NAMES, OBJECTS

PLAIN = (
    "The sky is {colour}.",
    "{name} likes {colour} {objects}.",
    "{name} wears a {colour} hat.",
    "The door is {colour}.",
    "The day is {weather}.",
    "The weather is {weather} today.",
    "{name} says {word}.",
    "The reply of {name} is {word}.",
    "A {colour} shelf is in the hall.",
    "{name} walks to school.",
    "{name} sings a song.",
    "{name} is a friend of {other}.",
)
NUMBERED = (
    "{name} is {number} years old.",
    "{name} lives at house {number}.",
    "It is {number} minutes past noon.",
    "{name} has {number} {objects}.",
    "The shop closes in {number} days.",
)
WEATHER = ("sunny", "rainy", "cloudy", "windy")
WORDS = ("yes", "no", "maybe", "hello")


def sentence(rng: random.Random, *, numbered: bool, avoid: tuple[str, ...] = ()) -> str:
    """One irrelevant sentence; it mentions none of ``avoid``, the names and objects of the question."""
    names = [n for n in NAMES if n not in avoid]
    name, other = rng.sample(names, 2)
    return rng.choice(NUMBERED if numbered else PLAIN).format(
        name=name,
        other=other,
        colour=rng.choice(COLOURS),
        objects=rng.choice([o for o in OBJECTS if o not in avoid]),
        weather=rng.choice(WEATHER),
        word=rng.choice(WORDS),
        number=rng.randint(1, 20),
    )
