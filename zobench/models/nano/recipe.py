"""Recipes of the built-in models: architecture, data and schedule.

Any change of a recipe requires a higher ``RECIPE_VERSION``; a new recipe does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zobench.models.nano.train import Schedule

RECIPE_VERSION = 1
TOKENIZER_SEED = 7
TOKENIZER_DOCUMENTS = 12_000


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of training: the plan of its text (see ``corpus.PLANS``), the seed of its text stream, and
    its schedule."""

    plan: str
    seed: int
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: its training data (``oracle``: without the forget set), its shape, its phases, and the
    built-in model whose shipped weights training starts from (empty: a new initialization)."""

    kind: Literal["causal", "masked"]
    data: Literal["corpus", "facts", "countdown"]
    width: int
    layers: int
    heads: int
    mlp: int
    batch: int
    length: int
    phases: tuple[Phase, ...]
    oracle: bool = False
    start: str = ""


NANO_PHASES = (
    Phase("first", 1, Schedule(steps=2200)),
    Phase("easy", 2, Schedule(steps=260, warmup=20, matrices=0.02, rest=4e-3)),
    Phase("second", 3, Schedule(steps=600, warmup=20, matrices=0.02, rest=4e-3)),
    Phase("third", 4, Schedule(steps=500, warmup=20, matrices=0.02, rest=4e-3)),
    Phase("fourth", 5, Schedule(steps=450, warmup=20, matrices=0.015, rest=4e-3)),
)
"""The first phase trains arithmetic, facts and topics. The others train opinions, inference and sums of two
unknowns, which are learned too slowly from a single label word of weight 1 per text."""
MASKED_PHASES = (
    Phase("fourth", 1, Schedule(steps=700, matrices=0.01, rest=4e-3)),
    Phase("fourth", 2, Schedule(steps=400, warmup=20, matrices=0.01, rest=3e-3)),
)
FACTS_PHASES = (Phase("facts", 1, Schedule(steps=700)),)
COUNTDOWN_PHASES = (Phase("countdown", 1, Schedule(steps=1200, warmup=20, matrices=0.02, rest=4e-3)),)

RECIPES: dict[str, Recipe] = {
    "nano": Recipe("causal", "corpus", 128, 4, 4, 320, 16, 128, NANO_PHASES),
    "nano-mlm": Recipe("masked", "corpus", 128, 4, 4, 320, 20, 96, MASKED_PHASES),
    "nano-facts": Recipe("causal", "facts", 96, 3, 4, 224, 64, 24, FACTS_PHASES),
    "nano-facts-oracle": Recipe("causal", "facts", 96, 3, 4, 224, 64, 24, FACTS_PHASES, oracle=True),
    "nano-countdown": Recipe("causal", "countdown", 128, 4, 4, 320, 16, 128, COUNTDOWN_PHASES, start="nano"),
}
