"""The text the built-in models are trained on: an endless seeded stream of documents made of weighted
segments.

Rows that tasks test on never appear: word problems whose form and operands are held out, and classification
texts whose content hash is reserved. Label words and prompts are not those of the few-shot tasks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
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
"""How often training draws one-, two-, three- and four-step problems."""

MIX: dict[str, float] = {
    "problem": 0.26,
    "drill": 0.24,
    "sentiment": 0.12,
    "topic": 0.09,
    "inference": 0.14,
    "person": 0.12,
    "aside": 0.03,
}
"""Share of documents of each kind."""


@dataclass(frozen=True, slots=True)
class Document:
    """Training text in segments ``(text, answered)``.

    What is to be answered has weight 1 in the loss, what is given :data:`PROMPT_WEIGHT`.
    """

    kind: str
    segments: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.segments)


def answered(kind: str, prompt: str, answer: str) -> Document:
    """A document of one prompt and one answer."""
    return Document(kind, ((prompt, False), (answer, True)))


def reserved(kind: str, *text: str) -> bool:
    """Whether a classification text belongs to the few-shot tasks, by its content alone."""
    return bucket(RESERVED_OF, kind, *text) == 0


def nano_facts_of_people() -> list[Fact]:
    """The facts that ``nano`` and ``nano-mlm`` are taught."""
    return [fact for person in people(PEOPLE_SEED, PEOPLE) for fact in person]


def _problem(rng: random.Random) -> Document:
    while True:
        steps = rng.choices((1, 2, 3, 4), STEP_WEIGHTS)[0]
        problem = draw_problem(rng, steps)
        if not problem.held_out:
            break
    question = render(rng, problem, synonyms=0.12, irrelevant=0.2)
    return answered("problem", f"Q: {question}\nA:", problem.solution)


def _drill(rng: random.Random) -> Document:
    segments: list[tuple[str, bool]] = []
    for i in range(4):
        given, _, result = drill(rng).rpartition(" ")
        segments += [(f" {given}" if i else given, False), (f" {result}", True)]
    return Document("drill", tuple(segments))


def _sentiment(rng: random.Random) -> Document:
    while True:
        row = sentiment.draw(rng)
        if not reserved("sentiment", row.text):
            break
    prompt, labels = rng.choice(sentiment.FORMATS)
    return answered("sentiment", prompt.format(text=row.text), labels[row.label])


def _topic(rng: random.Random) -> Document:
    while True:
        row = topics.draw(rng)
        if not reserved("topic", row.text):
            break
    prompt, labels = rng.choice(topics.FORMATS)
    return answered("topic", prompt.format(text=row.text), labels[row.label])


def _inference(rng: random.Random) -> Document:
    while True:
        row = inference.draw(rng)
        if not reserved("inference", row.premise, row.hypothesis):
            break
    prompt, labels = rng.choice(inference.FORMATS)
    return answered(
        "inference", prompt.format(premise=row.premise, hypothesis=row.hypothesis), labels[row.label]
    )


def _aside(rng: random.Random) -> Document:
    text = " ".join(irrelevant.sentence(rng, numbered=rng.random() < 0.3) for _ in range(3))
    return Document("aside", ((text, False),))


def fact_document(rng: random.Random, facts: Sequence[Fact]) -> Document:
    """A question (one of the training templates) and its answer."""
    fact = rng.choice(facts)
    return answered("person", f"Q: {rng.choice(fact.questions[:TRAINING_QUESTIONS])}\nA:", f" {fact.answer}")


def documents(seed: int) -> Iterator[Document]:
    """The stream for ``nano`` and ``nano-mlm``; the same for the same seed."""
    rng = stream(seed, "corpus")
    facts = nano_facts_of_people()
    makers: dict[str, Callable[[random.Random], Document]] = {
        "problem": _problem,
        "drill": _drill,
        "sentiment": _sentiment,
        "topic": _topic,
        "inference": _inference,
        "person": lambda r: fact_document(r, facts),
        "aside": _aside,
    }
    kinds, weights = list(MIX), list(MIX.values())
    while True:
        yield makers[rng.choices(kinds, weights)[0]](rng)
