"""Countdown puzzles: reach a target from given numbers, each used exactly once, by +, - and *.

A puzzle is drawn by combining two of its numbers at random until one is left, so every puzzle has a solution.
All intermediate values are whole numbers from 0 to :data:`LARGEST`, as in the word problems. A hash of the
sorted numbers and the target assigns a puzzle to a split: no wording or order of a test puzzle occurs in
training text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from zobench.data.synthetic.draw import bucket, digest, stream
from zobench.names import nearest

LARGEST = 40
GIVEN = 3
LARGEST_GIVEN = 15
"""Largest of the given numbers."""
PROMPT = "Q: {question}\nA:"
SPLITS = ("train", "validation", "test")
SEED = 21
QUOTA = {"train": 1200, "validation": 100, "test": 400}
HELD_OUT_OF = 6
"""One puzzle in this many is a test puzzle, another one a validation puzzle."""


@dataclass(frozen=True, slots=True)
class Puzzle:
    """``solution`` is one expression that reaches ``target``; there may be others."""

    numbers: tuple[int, ...]
    target: int
    solution: str

    @property
    def question(self) -> str:
        *first, last = map(str, self.numbers)
        return f"Reach {self.target} with {', '.join(first)} and {last}."

    @property
    def split(self) -> str:
        held = bucket(HELD_OUT_OF, "countdown", *sorted(self.numbers), self.target)
        return {0: "test", 1: "validation"}.get(held, "train")

    @property
    def id(self) -> str:
        return f"countdown-{digest(*sorted(self.numbers), self.target)[:12]}"


def draw_puzzle(rng: random.Random) -> Puzzle:
    """A puzzle with a target from 1 to :data:`LARGEST`."""
    while True:
        numbers = tuple(rng.randint(1, LARGEST_GIVEN) for _ in range(GIVEN))
        drawn = _combined(rng, numbers)
        if drawn is not None and drawn[0] > 0:
            return Puzzle(numbers, *drawn)


def _combined(rng: random.Random, numbers: tuple[int, ...]) -> tuple[int, str] | None:
    """Value and text of a random expression of all numbers; ``None`` if a value is out of range."""
    parts = [(n, str(n)) for n in numbers]
    while len(parts) > 1:
        rng.shuffle(parts)
        (a, left), (b, right) = parts.pop(), parts.pop()
        operator = rng.choice("+-*")
        value = {"+": a + b, "-": a - b, "*": a * b}[operator]
        if not 0 <= value <= LARGEST:
            return None
        text = f"{left} {operator} {right}"
        parts.append((value, f"({text})" if parts else text))
    return parts[0]


@cache
def puzzles(split: str) -> tuple[Puzzle, ...]:
    """The puzzles of a split in a fixed order, no two with the same numbers and target."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}{nearest(split, SPLITS)}")
    rng = stream(SEED, "countdown", split)
    found: dict[str, Puzzle] = {}
    while len(found) < QUOTA[split]:
        puzzle = draw_puzzle(rng)
        if puzzle.split == split:
            found.setdefault(puzzle.id, puzzle)
    return tuple(found.values())
