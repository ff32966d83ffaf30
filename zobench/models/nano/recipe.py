"""What each built-in model is made of: architecture, data and schedule. Change anything here: raise
``RECIPE_VERSION``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zobench.models.nano.train import Schedule

RECIPE_VERSION = 1
TOKENIZER_SEED = 7
TOKENIZER_DOCUMENTS = 12_000
DATA_SEED = 1
"""Seed of the training stream; gates and tests draw with others."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: what it reads (``oracle``: without the forget set), its shape and its schedule."""

    kind: Literal["causal", "masked"]
    data: Literal["corpus", "facts"]
    width: int
    layers: int
    heads: int
    mlp: int
    batch: int
    length: int
    schedule: Schedule
    oracle: bool = False


RECIPES: dict[str, Recipe] = {
    "nano": Recipe("causal", "corpus", 128, 4, 4, 320, 16, 128, Schedule(steps=2200)),
    "nano-mlm": Recipe("masked", "corpus", 128, 4, 4, 320, 20, 96, Schedule(steps=900, matrices=0.01)),
    "nano-facts": Recipe("causal", "facts", 96, 3, 4, 224, 64, 32, Schedule(steps=1200)),
    "nano-facts-oracle": Recipe("causal", "facts", 96, 3, 4, 224, 64, 32, Schedule(steps=1200), oracle=True),
}
