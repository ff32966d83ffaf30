"""Training text of the built-in models: an endless seeded stream of documents with weighted segments.

Test examples of the tasks never occur in it: word problems whose form and operands are held out, and
classification texts whose content hash is reserved. It does not use the label words and prompts of the
few-shot tasks.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from zobench.data.synthetic import inference, irrelevant, sentiment, topics
from zobench.data.synthetic.draw import bucket, stream
from zobench.data.synthetic.people import TRAINING_QUESTIONS, Fact, people
from zobench.data.synthetic.problems import draw_problem, drill, render

DATA_VERSION = 1
RESERVED_OF = 4
"""One classification text in this many (by content hash) is kept for the few-shot tasks."""
PEOPLE_SEED = 2
PEOPLE = 20
PROMPT_WEIGHT = 0.2
STEP_WEIGHTS = (2, 3, 4, 5)
"""Relative frequencies of one-, two-, three- and four-step problems in training."""

MIX: dict[str, float] = {
    "problem": 0.26,
    "drill": 0.24,
    "sentiment": 0.12,
    "topic": 0.09,
    "inference": 0.14,
    "person": 0.12,
    "aside": 0.03,
}
SECOND_MIX: dict[str, float] = {
    "problem": 0.34,
    "drill": 0.08,
    "sentiment": 0.18,
    "topic": 0.11,
    "inference": 0.18,
    "person": 0.10,
    "aside": 0.01,
}


EASY_MIX: dict[str, float] = {
    "problem": 0.15,
    "drill": 0.03,
    "sentiment": 0.32,
    "topic": 0.12,
    "inference": 0.34,
    "person": 0.03,
    "aside": 0.01,
}


@dataclass(frozen=True, slots=True)
class Document:
    """Training text in segments ``(text, weight in the loss)``."""

    kind: str
    segments: tuple[tuple[str, float], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.segments)


@dataclass(frozen=True, slots=True)
class Plan:
    """Composition of the training text of one phase."""

    mix: Mapping[str, float]
    """Share of documents of each kind."""
    negation: float
    contrast: float
    """Probability of a second clause of opposite sentiment in opinions; ``negation``: of a negated clause."""
    mixed: float
    """Probability of a thing of another topic in notes."""
    family: str | None
    """The only family of inference, or ``None`` for those that need matching."""
    comparison: float
    """Share of comparisons among two-step problems."""
    label_weight: float
    """Weight of the label word of a classification text in the loss; other answers have weight 1."""
    joined: float = 0.0
    """Probability of a second clause of the same sentiment in opinions."""
    largest: int = 12
    """Largest operand of a problem's events."""


THIRD_MIX: dict[str, float] = {
    "problem": 0.50,
    "drill": 0.06,
    "sentiment": 0.11,
    "topic": 0.10,
    "inference": 0.09,
    "person": 0.12,
    "aside": 0.02,
}
FOURTH_MIX: dict[str, float] = {
    "problem": 0.44,
    "drill": 0.04,
    "sentiment": 0.08,
    "topic": 0.12,
    "inference": 0.19,
    "person": 0.12,
    "aside": 0.01,
}
PLANS: dict[str, Plan] = {
    "first": Plan(MIX, negation=0.3, contrast=0.4, mixed=0.3, family=None, comparison=0.2, label_weight=1.0),
    "easy": Plan(
        EASY_MIX, negation=0.1, contrast=0.0, mixed=0.3, family=None, comparison=0.5, label_weight=10.0
    ),
    "second": Plan(
        SECOND_MIX,
        negation=0.4,
        contrast=0.0,
        mixed=0.3,
        family="counting",
        comparison=0.35,
        label_weight=6.0,
    ),
    "third": Plan(
        THIRD_MIX,
        negation=0.4,
        contrast=0.0,
        joined=0.5,
        mixed=0.4,
        family="counting",
        comparison=0.35,
        label_weight=4.0,
    ),
    "fourth": Plan(
        FOURTH_MIX,
        negation=0.4,
        contrast=0.0,
        joined=0.5,
        mixed=0.3,
        family="counting",
        comparison=0.3,
        label_weight=6.0,
        largest=9,
    ),
}


def answered(kind: str, prompt: str, answer: str, weight: float = 1.0) -> Document:
    """A document of one prompt and one answer."""
    return Document(kind, ((prompt, PROMPT_WEIGHT), (answer, weight)))


def reserved(kind: str, *text: str) -> bool:
    """Whether a classification text is reserved for the few-shot tasks; depends on its content alone."""
    return bucket(RESERVED_OF, kind, *text) == 0


def nano_facts_of_people() -> list[Fact]:
    """The facts in the training text of ``nano`` and ``nano-mlm``."""
    return [fact for person in people(PEOPLE_SEED, PEOPLE) for fact in person]


def _problem(rng: random.Random, plan: Plan) -> Document:
    while True:
        steps = rng.choices((1, 2, 3, 4), STEP_WEIGHTS)[0]
        problem = draw_problem(rng, steps, comparison=plan.comparison, largest=plan.largest)
        if not problem.held_out:
            break
    question = render(rng, problem, synonyms=0.12, irrelevant=0.2)
    return answered("problem", f"Q: {question}\nA:", problem.solution)


def _drill(rng: random.Random) -> Document:
    segments: list[tuple[str, float]] = []
    for i in range(4):
        given, _, result = drill(rng).rpartition(" ")
        segments += [(f" {given}" if i else given, PROMPT_WEIGHT), (f" {result}", 1.0)]
    return Document("drill", tuple(segments))


def _sentiment(rng: random.Random, plan: Plan) -> Document:
    while True:
        row = sentiment.draw(rng, negation=plan.negation, contrast=plan.contrast, joined=plan.joined)
        if not reserved("sentiment", row.text):
            break
    prompt, labels = rng.choice(sentiment.FORMATS)
    return answered("sentiment", prompt.format(text=row.text), labels[row.label], plan.label_weight)


def _topic(rng: random.Random, plan: Plan) -> Document:
    while True:
        row = topics.draw(rng, mixed=plan.mixed)
        if not reserved("topic", row.text):
            break
    prompt, labels = rng.choice(topics.FORMATS)
    return answered("topic", prompt.format(text=row.text), labels[row.label], plan.label_weight)


def _inference(rng: random.Random, plan: Plan) -> Document:
    while True:
        row = inference.draw(rng, family=plan.family)
        if not reserved("inference", row.premise, row.hypothesis):
            break
    prompt, labels = rng.choice(inference.FORMATS)
    return answered(
        "inference", prompt.format(premise=row.premise, hypothesis=row.hypothesis), labels[row.label]
    )


def _aside(rng: random.Random) -> Document:
    text = " ".join(irrelevant.sentence(rng, numbered=rng.random() < 0.3) for _ in range(3))
    return Document("aside", ((text, PROMPT_WEIGHT),))


def fact_document(rng: random.Random, facts: Sequence[Fact]) -> Document:
    """A question (one of the training templates) and its answer."""
    fact = rng.choice(facts)
    return answered("person", f"Q: {rng.choice(fact.questions[:TRAINING_QUESTIONS])}\nA:", f" {fact.answer}")


def documents(seed: int, plan: str = "first") -> Iterator[Document]:
    """The stream for ``nano`` and ``nano-mlm``; the same for the same seed and plan."""
    chosen = PLANS[plan]
    rng = stream(seed, "corpus")
    facts = nano_facts_of_people()
    makers: dict[str, Callable[[random.Random], Document]] = {
        "problem": lambda r: _problem(r, chosen),
        "drill": _drill,
        "sentiment": lambda r: _sentiment(r, chosen),
        "topic": lambda r: _topic(r, chosen),
        "inference": lambda r: _inference(r, chosen),
        "person": lambda r: fact_document(r, facts),
        "aside": _aside,
    }
    kinds, weights = list(chosen.mix), list(chosen.mix.values())
    while True:
        yield makers[rng.choices(kinds, weights)[0]](rng)


def general_documents(seed: int, count: int) -> list[str]:
    """The first ``count`` texts of a stream that are not about people, whose facts tasks ask for."""
    return list(itertools.islice((d.text for d in documents(seed) if d.kind != "person"), count))
