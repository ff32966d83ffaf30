"""Multiple choice: each example has its own candidates, scored by mean log-probability per token.

COPA and ReCoRD as in arXiv 2305.17333: training by teacher forcing on the gold candidate alone, prediction by
the best-scored candidate. ReCoRD is measured by accuracy (any correct entity), not by SuperGLUE's F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zobench.data.example import Example, Splits
from zobench.tasks.classification import PromptedClassification, TrainingMode
from zobench.tasks.fewshot import FewShotConfig, draw_splits, untestable
from zobench.tasks.prompts import Prompt


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceConfig(FewShotConfig):
    """Parameters of the few-shot tasks, with teacher forcing as default loss; only protocol ``mezo-opt``."""

    training: TrainingMode = "teacher-forcing"
    """``teacher-forcing`` on the gold candidate, or ``classification`` over all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol != "mezo-opt":
            raise ValueError(f"protocol: multiple choice has only 'mezo-opt', not {self.protocol!r}")


class MultipleChoiceTask(PromptedClassification):
    """Base of multiple-choice tasks; a subclass builds the prompt and the candidate texts."""

    kind: ClassVar[str] = "multiple-choice"
    scores: ClassVar[tuple[str, ...]] = ("accuracy",)
    Config: ClassVar[type] = MultipleChoiceConfig
    name: ClassVar[str]
    prompt_template: ClassVar[Prompt]

    def __init__(self, config: MultipleChoiceConfig) -> None:
        super().__init__(
            config,
            prompt=self.prompt_template,
            scoring="option-likelihood",
            training=config.training,
            calibrated=config.calibrated,
        )

    def options(self, example: Example) -> tuple[str, ...]:
        if not example.candidates:
            raise ValueError(f"example {example.id!r} has no candidates")
        return example.candidates

    def splits(self, seed: int) -> Splits:
        return draw_splits(self.name, self.config, seed)

    def no_rows_message(self) -> str:
        return untestable(self.name)


class COPA(MultipleChoiceTask):
    """``PREMISE so CANDIDATE`` for effects, ``PREMISE because CANDIDATE`` for causes."""

    name = "copa"
    prompt_template = Prompt("{premise}")

    def __init__(self, config: MultipleChoiceConfig) -> None:
        super().__init__(config)
        self.chance = 0.5

    def option_context(self, example: Example, shots: Sequence[tuple[Example, str]]) -> str:
        before = "".join(self._joined(e, o) + self.prompt.demonstration_separator for e, o in shots)
        return before + self._question(example)

    def option_text(self, example: Example, option: str, shots: Sequence[tuple[Example, str]]) -> str:
        return self.option_context(example, shots) + " " + _lower_first(option)

    def _joined(self, example: Example, option: str) -> str:
        return f"{self._question(example)} {_lower_first(option)}"

    @staticmethod
    def _question(example: Example) -> str:
        premise = example.text["premise"].rstrip()
        link = "so" if example.meta["question"] == "effect" else "because"
        return f"{premise.removesuffix('.')} {link}".strip(" ")


class ReCoRD(MultipleChoiceTask):
    """Passage and query with its placeholder replaced by each entity; several entities may be right."""

    name = "record"
    prompt_template = Prompt("{passage|highlights}\n-")

    def option_text(self, example: Example, option: str, shots: Sequence[tuple[Example, str]]) -> str:
        context = self.option_context(example, shots)
        return f"{context}{self.prompt.separator}{self._answered(example, option)}".rstrip(" ")

    def option_context(self, example: Example, shots: Sequence[tuple[Example, str]]) -> str:
        return self.prompt.context(example, [(e, self._answered(e, o)) for e, o in shots])

    def prompt_text(self, example: Example) -> str:
        return f"{self.option_context(example, ())} {example.text['query']}"

    def is_correct(self, example: Example, label: int) -> bool:
        right = example.meta.get("right", (example.label,))
        assert isinstance(right, tuple)
        return label in right

    @staticmethod
    def _answered(example: Example, option: str) -> str:
        return example.text["query"].replace("@placeholder", option)


def _lower_first(text: str) -> str:
    """The first word in lower case, unless it is "I"."""
    first, space, rest = text.partition(" ")
    return text if first == "I" else first.lower() + space + rest
