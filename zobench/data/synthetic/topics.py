"""Short sentences on one of six topics; some mention one thing of another topic and two of their own."""

from __future__ import annotations

import random
from dataclasses import dataclass

WORDS: dict[str, tuple[str, ...]] = {
    "sport": ("ball", "goal", "team", "coach", "race", "match", "referee", "tennis", "stadium", "medal"),
    "food": ("bread", "cheese", "butter", "oven", "sugar", "salad", "kitchen", "honey", "pasta", "sauce"),
    "music": ("piano", "drum", "violin", "choir", "concert", "melody", "singer", "guitar", "flute", "rhythm"),
    "animal": ("horse", "tiger", "rabbit", "eagle", "snake", "whale", "monkey", "goat", "wolf", "spider"),
    "travel": ("train", "ticket", "airport", "map", "luggage", "harbor", "passport", "ferry", "road", "tour"),
    "money": ("bank", "loan", "market", "price", "tax", "salary", "cash", "profit", "stock", "budget"),
}
CLASSES = tuple(WORDS)
FORMATS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Text: {text}.\nTopic:", (" sport", " food", " music", " animal", " travel", " money")),
    ("{text}. Subject:", (" games", " cooking", " sound", " nature", " journey", " finance")),
)
FRAMES = {
    1: ("we saw the {0}", "this is a note on the {0}", "tell me of the {0}"),
    2: ("we saw the {0} and the {1}", "the {0} is near the {1}", "they talk of the {0} and the {1}"),
    3: (
        "the {0} and the {1} are near the {2}",
        "they talk of the {0}, the {1} and the {2}",
        "we saw the {0} by the {1} and the {2}",
    ),
}


@dataclass(frozen=True, slots=True)
class Note:
    text: str
    label: int
    hardness: int
    words: tuple[str, ...]


def draw(rng: random.Random, *, mixed: float = 0.3, label: int | None = None, classes: int = 6) -> Note:
    """One sentence. ``mixed`` is the probability that one of three things is of another topic; the topic of
    the other two is the label."""
    label = rng.randrange(classes) if label is None else label
    own = WORDS[CLASSES[label]]
    if rng.random() < mixed:
        other = rng.choice([c for i, c in enumerate(CLASSES[:classes]) if i != label])
        words = [*rng.sample(own, 2), rng.choice(WORDS[other])]
        rng.shuffle(words)
        hardness = 1
    else:
        words = rng.sample(own, rng.randint(1, 3))
        hardness = 0
    return Note(rng.choice(FRAMES[len(words)]).format(*words), label, hardness, tuple(words))
