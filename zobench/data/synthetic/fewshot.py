"""The few-shot classification sets: prompts, label words and fixed pools of examples that no training text
contains.

The examples are texts that :func:`zobench.data.synthetic.corpus.reserved` keeps out of training. Label words
are ordinary words of the training text that are never used as labels there, so a model starts near chance.
Difficult examples need more understanding (words that the task's training examples do not contain,
quantifiers, an answer in an unusual position); no label is wrong."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from zobench.data.synthetic import inference, sentiment, topics
from zobench.data.synthetic.corpus import reserved
from zobench.data.synthetic.draw import bucket, digest, stream
from zobench.names import nearest

POOL_SEED = 11
SPLITS = ("train", "validation", "test")
_BUCKETS = 8
_MOST_DRAWS = 300_000
_SPLIT_OF_BUCKET = ("train", "train", "train", "validation", "validation", "test", "test", "test")
POOL_PER_CLASS = {"train": 64, "validation": 32}
TEST_ROWS = 400


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One example: named text fields, gold class, and its difficulty ``hardness``."""

    id: str
    text: dict[str, str]
    label: int
    hardness: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """An example before it is assigned to a split: ``content`` decides the split, ``words`` may exclude
    it from training."""

    text: dict[str, str]
    content: tuple[str, ...]
    label: int
    hardness: int
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FewShotSet:
    """A classification set: ``prompt`` over the text fields, one label word (with its space) per class."""

    name: str
    prompt: str
    label_words: tuple[str, ...]
    classes: tuple[str, ...]
    draw: Callable[[random.Random], Drawn]
    withheld: frozenset[str]
    """Words that only test examples contain."""


def _sentiment(rng: random.Random) -> Drawn:
    row = sentiment.draw(rng, negation=0.0, contrast=0.0, joined=0.6)
    return Drawn({"sentence": row.text}, (row.text,), row.label, row.hardness, row.words)


def _topic(rng: random.Random) -> Drawn:
    row = topics.draw(rng, mixed=0.0)
    return Drawn({"sentence": row.text}, (row.text,), row.label, row.hardness, row.words)


def _inference(rng: random.Random) -> Drawn:
    row = inference.draw(rng, family="counting")
    text = {"premise": row.premise, "hypothesis": row.hypothesis}
    return Drawn(text, (row.premise, row.hypothesis), row.label, row.hardness)


SETS: dict[str, FewShotSet] = {
    "sentiment": FewShotSet(
        "sentiment",
        "{sentence}. so the door is",
        (" red", " green"),
        sentiment.CLASSES,
        _sentiment,
        frozenset((*sentiment.POSITIVE[10:], *sentiment.NEGATIVE[10:])),
    ),
    "topic": FewShotSet(
        "topic",
        "{sentence}. the shelf is",
        (" black", " blue", " green", " pink", " red", " white"),
        topics.CLASSES,
        _topic,
        frozenset(word for words in topics.WORDS.values() for word in words[7:]),
    ),
    "inference": FewShotSet(
        "inference",
        "{premise}. {hypothesis}? reply:",
        (" yes", " no", " maybe"),
        inference.CLASSES,
        _inference,
        frozenset(),
    ),
}


def fewshot_set(name: str) -> FewShotSet:
    """The set of this name, or ``ValueError`` with the nearest valid one."""
    if name not in SETS:
        raise ValueError(f"unknown few-shot set {name!r}{nearest(name, SETS)}")
    return SETS[name]


@cache
def pool(name: str, split: str) -> tuple[LabelledText, ...]:
    """All examples of a split, balanced over classes, without duplicates, in a fixed order.

    The split of an example depends on its text alone. Training and validation examples do not contain the
    withheld words.
    """
    chosen = fewshot_set(name)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}{nearest(split, SPLITS)}")
    classes = len(chosen.classes)
    wanted = POOL_PER_CLASS.get(split, TEST_ROWS // classes)
    found: list[list[LabelledText]] = [[] for _ in range(classes)]
    for row in _candidates(chosen, split):
        if len(found[row.label]) < wanted:
            found[row.label].append(row)
            if all(len(rows) == wanted for rows in found):
                break
    else:
        raise AssertionError(f"{name}: too few distinct {split} rows")
    return tuple(itertools.chain.from_iterable(zip(*found, strict=True)))


def _candidates(chosen: FewShotSet, split: str) -> Iterator[LabelledText]:
    rng = stream(POOL_SEED, chosen.name, split)
    seen: set[str] = set()
    for _ in range(_MOST_DRAWS):
        row = chosen.draw(rng)
        key = digest(chosen.name, *row.content)[:16]
        if key in seen or not reserved(chosen.name, *row.content):
            continue
        seen.add(key)
        if _SPLIT_OF_BUCKET[bucket(_BUCKETS, "split", *row.content)] != split:
            continue
        if split != "test" and chosen.withheld.intersection(row.words):
            continue
        yield LabelledText(f"{chosen.name}-{key}", row.text, row.label, row.hardness)


def sample(name: str, split: str, k: int, seed: int) -> list[LabelledText]:
    """``k`` examples per class from the pool of ``split``, shuffled; the same for the same seed."""
    rows = pool(name, split)
    classes = len(fewshot_set(name).classes)
    if not 1 <= k <= len(rows) // classes:
        raise ValueError(
            f"k must be between 1 and {len(rows) // classes} for {split} examples of {name!r}, not {k}"
        )
    rng = stream(seed, "few-shot", name, split)
    chosen = [row for label in range(classes) for row in rng.sample([r for r in rows if r.label == label], k)]
    rng.shuffle(chosen)
    return chosen
