"""Multiple choice for the built-in model: facts of invented people, with the options listed in the question.

Example: ``Q: Where was Pia Quist born? Thalwick, Winmere, Elmere or Branford?``. The options are scored by
the mean log-probability of their tokens. The model was trained on the facts but never on listed options, so
their order affects it: this is the task for the attack ``option-order``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from zobench.data.example import Example, Splits
from zobench.data.synthetic.corpus import nano_facts_of_people
from zobench.data.synthetic.draw import stream
from zobench.data.synthetic.people import PERTURBED, Fact
from zobench.parameters import Bounds, Parameters
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.prompts import Prompt


@dataclass(frozen=True)
class ChoiceConfig(Parameters):
    options: Annotated[int, Bounds(ge=2, le=1 + PERTURBED)] = 4
    """Number of options per question, the right one included."""
    test_rows: Annotated[int, Bounds(ge=1, le=160)] = 160
    """Test examples: the first of the 160 facts."""


class NanoChoice(PromptedClassification):
    """Multiple choice, trained by cross-entropy over the options.

    The listed options are not a text field: attacks that edit words leave them unchanged, and
    ``option-order`` moves them together with the answers."""

    Config: ClassVar[type] = ChoiceConfig
    kind: ClassVar[str] = "multiple-choice"
    scores: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __init__(self, config: ChoiceConfig) -> None:
        super().__init__(config, prompt=Prompt("Q: {question}\nA:"), scoring="option-likelihood")
        self.chance = 1.0 / config.options

    def splits(self, seed: int) -> Splits:
        """The facts in three wordings that the model was trained on, for training (shuffled by ``seed``),
        validation and test. Options and their order are fixed for each example."""
        facts = nano_facts_of_people()
        train, validation, test = (
            [self._example(f, i, use) for f in facts] for i, use in enumerate(("train", "validation", "test"))
        )
        stream(seed, "nano-choice").shuffle(train)
        return Splits(train, validation, test[: self.config.test_rows], demonstrations=train)

    def options(self, example: Example) -> tuple[str, ...]:
        return example.candidates

    def option_context(self, example: Example, shots: Sequence[tuple[Example, str]]) -> str:
        return self.prompt.context(_listed(example), [(_listed(e), answer) for e, answer in shots])

    def option_text(self, example: Example, option: str, shots: Sequence[tuple[Example, str]]) -> str:
        return self.option_context(example, shots) + self.prompt.separator + option

    def _example(self, fact: Fact, wording: int, use: str) -> Example:
        name = f"{fact.id}/{use}"
        draw = stream(0, "nano-choice", name)
        options = [fact.value, *draw.sample(fact.wrong_values, self.config.options - 1)]
        draw.shuffle(options)
        return Example(
            name,
            {"question": fact.questions[wording]},
            label=options.index(fact.value),
            candidates=tuple(options),
            meta={"attribute": fact.attribute},
        )


def _listed(example: Example) -> Example:
    """The question followed by its options, in order."""
    *most, last = example.candidates
    return example.with_text("question", f"{example.text['question']} {', '.join(most)} or {last}?")
