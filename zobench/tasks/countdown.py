"""Generated countdown puzzles: reach a target from three numbers. There is no correct answer but many, so an
answer is right if its expression uses each number exactly once and reaches the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, ClassVar

from zobench.data.arithmetic import first_line, solves
from zobench.data.example import Example, Splits
from zobench.data.synthetic.countdown import QUOTA, puzzles
from zobench.data.synthetic.draw import stream
from zobench.parameters import Bounds, Count, Parameters
from zobench.tasks.base import MetricValue, Prediction
from zobench.tasks.generation import GenerationTask
from zobench.tasks.prompts import Prompt


@dataclass(frozen=True)
class CountdownTaskConfig(Parameters):
    train: Annotated[int, Bounds(ge=1, le=QUOTA["train"])] = 1000
    """Training examples, drawn by the data seed; the text that nano-countdown was trained on may contain
    them."""
    validation: Annotated[int, Bounds(ge=1, le=QUOTA["validation"])] = 100
    """Validation examples: in no training text and not in the test set."""
    test_rows: Annotated[int, Bounds(ge=1, le=QUOTA["test"])] = QUOTA["test"]
    """Test examples: the first of a fixed list."""
    max_new_tokens: Count = 20
    """Longest answer; an expression of three numbers has at most 15 tokens."""
    prompt: str = "Q: {question}\nA:"
    """Template around ``{question}``; set it to the model's training format."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if Prompt(self.prompt).fields != ("question",):
            raise ValueError(f"prompt must contain {{question}} and no other field: {self.prompt!r}")


class Countdown(GenerationTask):
    """Expressions of three given numbers that reach a target."""

    Config: ClassVar[type] = CountdownTaskConfig
    measures: ClassVar[tuple[str, ...]] = ("accuracy", "answered", "answer_tokens")

    def __init__(self, config: CountdownTaskConfig) -> None:
        prompt = Prompt(config.prompt)
        super().__init__(config, prompt=prompt, max_new_tokens=config.max_new_tokens, stop=("\n",))

    def splits(self, seed: int) -> Splits:
        """Training examples drawn by ``seed``; validation and test examples are fixed."""
        train = puzzle_examples("train")
        stream(seed, "countdown").shuffle(train)
        train = train[: self.config.train]
        validation = puzzle_examples("validation")[: self.config.validation]
        test = puzzle_examples("test")[: self.config.test_rows]
        return Splits(train=train, validation=validation, test=test, demonstrations=train)

    def judge(self, example: Example, text: str, tokens: int = 0) -> Prediction:
        """Right if the first line, up to ``=``, is an expression of the given numbers that reaches the
        target."""
        numbers, target = example.meta["numbers"], Fraction(str(example.meta["target"]))
        assert isinstance(numbers, tuple)
        output = first_line(text)
        right = solves(output, numbers, target)
        return Prediction(example.id, output, right, raw=text, tokens=tokens, strict_correct=right)

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """``accuracy``, ``answered`` (the answer is not empty), ``answer_tokens`` (mean number of generated
        tokens)."""
        found = super().metrics(examples, predictions)
        del found["strict_accuracy"]
        return found


def puzzle_examples(split: str) -> list[Example]:
    """The puzzles of a split; ``answer`` is one of the solutions."""
    return [
        Example(
            puzzle.id,
            {"question": puzzle.question},
            answer=puzzle.solution,
            meta={"numbers": puzzle.numbers, "target": puzzle.target},
        )
        for puzzle in puzzles(split)
    ]
