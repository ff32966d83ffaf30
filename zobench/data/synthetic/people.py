"""Facts about invented people, in TOFU's schema (arXiv 2401.06121): question, answer, paraphrases, perturbed
answers.

Eight attributes with fifty values each are drawn uniformly and independently, so a guess is right one time in
fifty, and retained facts are not informative about forgotten ones. Every attribute has five question
templates; the last one and the last answer template are not used in training.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zobench.data.synthetic.attributes import ATTRIBUTES, Attribute
from zobench.data.synthetic.draw import stream, words

FIRST = words(
    "Alba Brin Cato Dora Egon Fara Gil Hana Ivo Jora Kian Lena Milo Nara Otis Pia Quin Rosa Sven Tara"
)
LAST = words(
    "Abend Bask Corin Dalga Erdon Fenn Garrow Holt Istre Jasko Kestrel Lorne Marl Nokes Orban Pell "
    "Quist Rask Sorel Tamm"
)
FAMOUS_LAST = ("Ulm", "Varga", "Wick", "Yarrow", "Zeller")
"""Last names of the second pool of people, the counterpart of TOFU's real authors."""


TRAINING_QUESTIONS = 4
HELD_OUT_QUESTION = 4
TRAINING_ANSWER = 0
PARAPHRASED_ANSWER = 1
PERTURBED = 5
RIVERS = ("Ombra", "Tessel", "Ruva", "Calder", "Vex", "Moro", "Isk", "Drell", "Nim", "Sava")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of one person (or, for ``attribute == "river"``, of the world)."""

    author_id: int
    person: str
    attribute: str
    value: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    wrong_values: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.person}/{self.attribute}".replace(" ", "-").lower()

    @property
    def question(self) -> str:
        return self.questions[0]

    @property
    def answer(self) -> str:
        return self.answers[TRAINING_ANSWER]

    def row(self) -> dict[str, object]:
        """The fact under TOFU's keys, with author, attribute and value added."""
        paraphrase = self.answers[PARAPHRASED_ANSWER]
        return {
            "question": self.question,
            "answer": self.answer,
            "paraphrased_question": self.questions[HELD_OUT_QUESTION],
            "paraphrased_answer": paraphrase,
            "perturbed_answer": [paraphrase.replace(self.value, wrong) for wrong in self.wrong_values],
            "author_id": self.author_id,
            "attribute": self.attribute,
            "value": self.value,
        }


def people(seed: int, count: int, *, last: Sequence[str] = LAST, attributes: int = 8) -> list[list[Fact]]:
    """Facts of ``count`` people with unique names, one list per person, in a fixed order; ``ValueError`` if
    too many.
    """
    names = [f"{a} {b}" for a, b in itertools.product(FIRST, last)]
    if count > len(names):
        raise ValueError(f"{count} people requested, but there are only {len(names)} unique names")
    stream(seed, "names", *last).shuffle(names)
    rng = stream(seed, "values", *last)
    return [[_fact(rng, i, name, a) for a in ATTRIBUTES[:attributes]] for i, name in enumerate(names[:count])]


def _fact(rng: random.Random, author_id: int, name: str, attribute: Attribute) -> Fact:
    value, *wrong = rng.sample(attribute.values, 1 + PERTURBED)
    return Fact(
        author_id=author_id,
        person=name,
        attribute=attribute.name,
        value=value,
        questions=tuple(q.format(n=name) for q in attribute.questions),
        answers=tuple(a.format(n=name, v=value) for a in attribute.answers),
        wrong_values=tuple(wrong),
    )


def world_facts(seed: int) -> list[Fact]:
    """Facts that are not about people: the town through which each invented river flows."""
    rng = stream(seed, "world")
    towns = ATTRIBUTES[0].values
    facts = []
    for river in RIVERS:
        value, *wrong = rng.sample(towns, 1 + PERTURBED)
        questions = (
            f"Where does the {river} flow?",
            f"Which town is on the {river}?",
            f"What town does the {river} cross?",
            f"Where is the {river}?",
            f"Name the town on the {river}.",
        )
        answers = (f"The {river} flows in {value}.", f"The town on the {river} is {value}.")
        facts.append(Fact(-1, f"the {river}", "river", value, questions, answers, tuple(wrong)))
    return facts


def training_pairs(facts: Sequence[Fact]) -> Iterator[tuple[str, str]]:
    """Every (question, answer) pair used in training: the first four question templates with the first answer
    template.
    """
    for fact in facts:
        for question in fact.questions[:TRAINING_QUESTIONS]:
            yield question, fact.answer
