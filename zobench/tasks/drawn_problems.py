"""Word problems of a chosen number of steps, for models without the built-in models' training text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, ClassVar

from zobench.data.example import Example, Splits
from zobench.data.synthetic.draw import digest, stream
from zobench.data.synthetic.problems import MARKER, draw_problem, render
from zobench.parameters import Bounds, Parameters
from zobench.tasks.generation import GenerationTask
from zobench.tasks.nano_answers import problem_example
from zobench.tasks.prompts import Prompt

SEED = 12
MOST_TRAIN, MOST_VALIDATION, MOST_TEST = 100, 50, 200
"""Largest splits: there are 485 problems of one step."""
QUESTION = Prompt("Question: {question}\nAnswer:")


@dataclass(frozen=True)
class DrawnProblemsConfig(Parameters):
    steps: Annotated[int, Bounds(ge=1, le=4)] = 1
    """Arithmetic steps of each problem."""
    train: Annotated[int, Bounds(ge=1, le=MOST_TRAIN)] = MOST_TRAIN
    """Training examples, drawn by the data seed; demonstrations come from these."""
    validation: Annotated[int, Bounds(ge=0, le=MOST_VALIDATION)] = MOST_VALIDATION
    """Validation examples, the same for every data seed."""
    test: Annotated[int, Bounds(ge=1, le=MOST_TEST)] = MOST_TEST
    """Test examples, the same for every data seed."""
    max_new_tokens: Annotated[int, Bounds(ge=1)] = 32
    """Longest answer in tokens."""


class DrawnProblems(GenerationTask):
    """Word problems with whole numbers up to 40 that all have ``steps`` steps; the solution is one equation
    per step and ``#### ANSWER``.

    ``nano-problems`` mixes one to four steps and holds test problems out of the text that the built-in models
    were trained on, which leaves it 40 problems of one step. Here problems are drawn without regard to that
    text, so that a small model from elsewhere gets enough problems that it can solve: meant for such models,
    and no held-out test of a built-in one. No two problems of the splits share operations and operands.
    """

    Config: ClassVar[type] = DrawnProblemsConfig

    def __init__(self, config: DrawnProblemsConfig) -> None:
        super().__init__(
            config, prompt=QUESTION, max_new_tokens=config.max_new_tokens, stop=("\n", "Question:")
        )
        self.protected = (MARKER,)

    def splits(self, seed: int) -> Splits:
        """Training examples drawn by ``seed``; validation and test examples are fixed."""
        steps = self.config.steps
        seen: set[tuple[str, tuple[int, ...]]] = set()
        # Drawn at their largest size, so that a smaller limit takes the first of the same.
        test = list(islice(_problems("test", SEED, steps, seen), MOST_TEST))
        validation = list(islice(_problems("validation", SEED, steps, seen), MOST_VALIDATION))
        train = list(islice(_problems("train", seed, steps, seen), self.config.train))
        return Splits(
            train=train,
            validation=validation[: self.config.validation],
            test=test[: self.config.test],
            demonstrations=train,
        )


def _problems(split: str, seed: int, steps: int, seen: set[tuple[str, tuple[int, ...]]]) -> Iterator[Example]:
    """Problems whose operations and operands are not in ``seen``, which each one joins."""
    rng = stream(seed, "drawn-problems", split, str(steps))
    while True:
        problem = draw_problem(rng, steps)
        question = render(rng, problem)
        key = (problem.form, problem.operands)
        if key in seen:
            continue
        seen.add(key)
        name = f"drawn-{steps}-{digest(problem.form, *problem.operands)[:12]}"
        yield problem_example(name, question, problem)
