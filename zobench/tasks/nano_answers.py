"""Generated answers of the built-in models: word problems, and facts of invented people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from zobench.data.example import Example, Splits
from zobench.data.synthetic.corpus import nano_facts_of_people
from zobench.data.synthetic.draw import stream
from zobench.data.synthetic.fact_sets import NAMES as FACT_SETS
from zobench.data.synthetic.fact_sets import fact_set
from zobench.data.synthetic.people import HELD_OUT_QUESTION, Fact
from zobench.data.synthetic.problem_sets import QUOTA, problem_rows
from zobench.data.synthetic.problems import MARKER, Problem
from zobench.metrics.calibration import accuracy_with_stderr
from zobench.parameters import Bounds, OneOf, Parameters
from zobench.tasks.base import MetricValue, Prediction
from zobench.tasks.generation import GenerationTask
from zobench.tasks.prompts import Prompt

QUESTION = Prompt("Q: {question}\nA:")


@dataclass(frozen=True)
class ProblemsConfig(Parameters):
    train: Annotated[int, Bounds(ge=1, le=sum(QUOTA["train"]))] = 400
    """Training examples, drawn by the data seed from problems that may occur in the model's training text."""
    validation: Annotated[int, Bounds(ge=1, le=sum(QUOTA["validation"]))] = 100
    """Validation examples: in no training text and not in the test set."""
    test_rows: Annotated[int, Bounds(ge=1, le=400)] = 400
    """Test examples: the first of a fixed list, one to four steps mixed."""
    max_new_tokens: int = 60
    """Longest answer; a four-step solution has at most 45 tokens."""


class NanoProblems(GenerationTask):
    """Word problems of one to four steps; the solution ends in ``#### ANSWER``.

    Test and validation problems are held out by a hash of form and operands.
    """

    Config: ClassVar[type] = ProblemsConfig
    measures: ClassVar[tuple[str, ...]] = (
        *GenerationTask.measures,
        *(f"accuracy_steps_{steps}" for steps in (1, 2, 3, 4)),
    )

    def __init__(self, config: ProblemsConfig) -> None:
        super().__init__(config, prompt=QUESTION, max_new_tokens=config.max_new_tokens, stop=("\n",))
        self.protected = (MARKER,)

    def splits(self, seed: int) -> Splits:
        """Training examples drawn by ``seed``; validation and test examples are fixed."""
        train = problem_examples("train")
        stream(seed, "nano-problems").shuffle(train)
        train = train[: self.config.train]
        validation = problem_examples("validation")[: self.config.validation]
        test = problem_examples("test")[: self.config.test_rows]
        return Splits(train=train, validation=validation, test=test, demonstrations=train)

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """The metrics of generation tasks, and ``accuracy_steps_N`` for each number of steps that occurs."""
        found = super().metrics(examples, predictions)
        for steps in sorted({int(str(e.meta["steps"])) for e in examples}):
            pairs = zip(examples, predictions, strict=True)
            right = [p.correct for e, p in pairs if e.meta["steps"] == steps]
            value, stderr = accuracy_with_stderr(right)
            found[f"accuracy_steps_{steps}"] = MetricValue(value, len(right), stderr)
        return found


def problem_examples(split: str) -> list[Example]:
    """The examples of a split with their worked solutions."""
    return [problem_example(row.id, row.question, row.problem) for row in problem_rows(split)]


def problem_example(name: str, question: str, problem: Problem) -> Example:
    """A word problem as an example with the id ``name``."""
    return Example(
        name,
        {"question": question},
        answer=str(problem.answer),
        meta={"solution": problem.solution.strip(), "steps": problem.steps},
    )


@dataclass(frozen=True)
class FactsConfig(Parameters):
    facts: Annotated[str, OneOf(("nano", *FACT_SETS))] = "nano"
    """``nano``: the facts that the model nano was trained on; else a set of nano-facts: full, forget10,
    retain90, holdout ..."""
    question: Literal["trained", "new"] = "trained"
    """Wording of the test questions: one used in training, or the held-out one."""
    test_rows: int = 400
    """Test examples: the first of the set."""
    max_new_tokens: int = 24
    """Longest answer in tokens."""


class NanoFacts(GenerationTask):
    """Questions about invented people; an answer is right if it contains the fact's value (chance 2 %)."""

    Config: ClassVar[type] = FactsConfig

    def __init__(self, config: FactsConfig) -> None:
        super().__init__(config, prompt=QUESTION, max_new_tokens=config.max_new_tokens, stop=("\n",))
        self.chance = 0.02

    def splits(self, seed: int) -> Splits:
        """The facts in a training wording (shuffled by ``seed``), in a second one for validation, and in the
        wording of the test questions."""
        facts = nano_facts_of_people() if self.config.facts == "nano" else fact_set(self.config.facts)
        train = [fact_example(f, 0, "train") for f in facts]
        stream(seed, "nano-facts").shuffle(train)
        validation = [fact_example(f, 1, "validation") for f in facts]
        template = 2 if self.config.question == "trained" else HELD_OUT_QUESTION
        test = [fact_example(f, template, "test") for f in facts][: self.config.test_rows]
        return Splits(train=train, validation=validation, test=test, demonstrations=train)

    def judge(self, example: Example, text: str, tokens: int = 0) -> Prediction:
        """Right if the answer contains the value; strictly right if it equals the training answer."""
        value = str(example.meta["value"])
        return Prediction(
            example_id=example.id,
            output=value if value in text else text.strip(),
            correct=value in text,
            raw=text,
            tokens=tokens,
            strict_correct=text.strip() == example.answer,
        )

    def compared(self, example: Example, prediction: Prediction) -> tuple[str, str]:
        """The whole sentences, because ``output`` is only the value if it occurs."""
        return prediction.raw.strip(), str(example.answer)


def fact_example(fact: Fact, template: int, use: str) -> Example:
    """The fact as an example with question template ``template``."""
    return Example(
        f"{fact.id}/{use}",
        {"question": fact.questions[template]},
        answer=fact.answer,
        meta={"value": fact.value, "attribute": fact.attribute, "author_id": fact.author_id},
    )
