"""Word problems of one to four arithmetic steps with short reasoning, ``a + b = c.`` steps and ``####
answer``.

A problem consists of its form (opening and operations, without names, objects or verbs) and its operands. A
hash of these two decides whether it is held out, so no wording of a held-out problem occurs in training text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from zobench.data.synthetic.draw import bucket
from zobench.data.synthetic.irrelevant import sentence
from zobench.data.synthetic.vocabulary import CONTAINERS, NAMES, OBJECTS

LARGEST = 40
"""No number in a problem or in its solution exceeds this."""
HELD_OUT_OF = 7
"""One problem in this many is held out."""
MARKER = "####"

SURFACES = ("owner", "place", "bus")
PLUS = {
    "owner": ("{n} buys {b} more.", "{n} finds {b} more."),
    "place": ("{m} puts in {b} more.", "{m} adds {b} more."),
    "bus": ("{b} people get on.", "Then {b} people get on."),
}
MINUS = {
    "owner": ("{n} gives {b} to {m}.", "{n} loses {b}."),
    "place": ("{m} takes out {b}.", "{m} takes {b} away."),
    "bus": ("{b} people get off.", "Then {b} people get off."),
}
PLUS_SYNONYMS = {
    "owner": (
        "{n} gets {b} more.",
        "{n} purchases {b} more.",
        "{n} receives {b} more.",
        "{n} picks up {b} more.",
    ),
    "place": ("{m} drops in {b} more.", "{m} places {b} more inside."),
    "bus": ("{b} people board.", "{b} more people enter."),
}
MINUS_SYNONYMS = {
    "owner": ("{n} sells {b}.", "{n} drops {b}.", "{n} hands {b} to {m}.", "{n} donates {b}."),
    "place": ("{m} removes {b}.", "{m} grabs {b}."),
    "bus": ("{b} people leave.", "{b} people exit."),
}
TIMES = {2: ("Then the number doubles.",), 3: ("Then the number triples.",)}


@dataclass(frozen=True, slots=True)
class Problem:
    """``form`` is the opening (``n`` a number, ``p`` a product, ``c+``/``c-`` a comparison) followed by
    operations.
    """

    form: str
    operands: tuple[int, ...]
    equations: tuple[str, ...]
    answer: int

    @property
    def steps(self) -> int:
        return len(self.equations)

    @property
    def held_out(self) -> bool:
        return bucket(HELD_OUT_OF, "problem", self.form, *self.operands) == 0

    @property
    def solution(self) -> str:
        """The text after ``A:``; it begins with a space and ends with the marked answer."""
        return " " + " ".join(f"{e}." for e in self.equations) + f" {MARKER} {self.answer}"


def draw_problem(rng: random.Random, steps: int, *, comparison: float = 0.2, largest: int = 9) -> Problem:
    """A problem of ``steps`` steps with all numbers in ``[1, LARGEST]``.

    ``comparison`` is the share of comparisons among two-step problems, ``largest`` the largest operand.
    """
    while True:
        problem = _attempt(rng, steps, comparison, largest)
        if problem is not None:
            return problem


def _attempt(rng: random.Random, steps: int, comparison: float, largest: int) -> Problem | None:
    if steps == 2 and rng.random() < comparison:
        return _comparison(rng, largest)
    operands: list[int] = []
    equations: list[str] = []
    if rng.random() < 0.25:
        form = "p"
        a, b = rng.randint(2, 9), rng.randint(2, 9)
        value = a * b
        if value > LARGEST:
            return None
        operands += [a, b]
        equations.append(f"{a} * {b} = {value}")
    else:
        form = "n"
        value = rng.randint(1, 25)
        operands.append(value)
    while len(equations) < steps:
        op = rng.choices("+-*", (5, 5, 1))[0]
        b = rng.choice((2, 3)) if op == "*" else rng.randint(1, largest)
        result = value + b if op == "+" else value - b if op == "-" else value * b
        form += op
        operands.append(b)
        equations.append(f"{value} {op} {b} = {result}")
        value = result
        if not 1 <= value <= LARGEST:
            return None
    return Problem(form, tuple(operands), tuple(equations), value)


def _comparison(rng: random.Random, largest: int) -> Problem | None:
    op = rng.choice("+-")
    a, b = rng.randint(1, 20), rng.randint(1, largest)
    other = a + b if op == "+" else a - b
    if other < 1 or a + other > LARGEST:
        return None
    equations = (f"{a} {op} {b} = {other}", f"{a} + {other} = {a + other}")
    return Problem(f"c{op}", (a, b), equations, a + other)


def render(
    rng: random.Random,
    problem: Problem,
    *,
    synonyms: float = 0.0,
    irrelevant: float = 0.0,
    numbered: float = 0.5,
) -> str:
    """A question for ``problem``.

    Args:
        synonyms: probability that a sentence uses a rarer verb.
        irrelevant: probability that one irrelevant sentence is inserted before the question.
        numbered: share of these sentences that contain a number.
    """
    n, m = rng.sample(NAMES, 2)
    things = rng.choice(OBJECTS)
    sentences, question = (
        _compare_text(problem, n, m, things)
        if problem.form.startswith("c")
        else _chain_text(rng, problem, n, m, things, synonyms)
    )
    if rng.random() < irrelevant:
        extra = sentence(rng, numbered=rng.random() < numbered, avoid=(n, m, things))
        sentences.insert(rng.randint(1, len(sentences)), extra)
    return " ".join([*sentences, question])


def _compare_text(problem: Problem, n: str, m: str, things: str) -> tuple[list[str], str]:
    a, b = problem.operands
    word = "more" if problem.form == "c+" else "fewer"
    return (
        [f"{n} has {a} {things}.", f"{m} has {b} {word} than {n}."],
        f"How many {things} do they have together?",
    )


def _chain_text(
    rng: random.Random, problem: Problem, n: str, m: str, things: str, synonyms: float
) -> tuple[list[str], str]:
    surface = rng.choice(SURFACES)
    container = rng.choice(CONTAINERS)
    product = problem.form.startswith("p")
    a = problem.operands[0]
    b = problem.operands[1]
    if surface == "owner":
        first = f"{n} has {a} bags of {b} {things}." if product else f"{n} has {a} {things}."
        question = f"How many {things} does {n} have now?"
    elif surface == "place":
        rows = f"There are {a} rows of {b} {things} in the {container}."
        first = rows if product else f"There are {a} {things} in the {container}."
        question = f"How many {things} are in the {container}?"
    else:
        first = f"A bus has {a} rows of {b} people." if product else f"A bus has {a} people."
        question = "How many people are on the bus?"
    sentences = [first]
    choices: tuple[str, ...]
    for op, value in zip(problem.form[1:], problem.operands[2 if product else 1 :], strict=True):
        if op == "*":
            choices = TIMES[value]
        else:
            rare = rng.random() < synonyms
            table = (PLUS_SYNONYMS if rare else PLUS) if op == "+" else (MINUS_SYNONYMS if rare else MINUS)
            choices = table[surface]
        sentences.append(rng.choice(choices).format(n=n, m=m, b=value))
    return sentences, question


def drill(rng: random.Random) -> str:
    """One bare equation over the numbers that problems use, for instance ``17 + 8 = 25.``."""
    while True:
        op = rng.choices("+-*", (4, 4, 1))[0]
        a = rng.randint(2, 9) if op == "*" else rng.randint(1, LARGEST)
        b = rng.randint(2, 9) if op == "*" else rng.randint(1, 20)
        if op == "*" and rng.random() < 0.3:
            a, b = rng.randint(1, 20), rng.choice((2, 3))
        result = a + b if op == "+" else a - b if op == "-" else a * b
        if 1 <= result <= LARGEST:
            return f"{a} {op} {b} = {result}."
