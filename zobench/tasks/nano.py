"""Few-shot classification tasks for the built-in models: sentiment, topic and inference.

All examples are generated; see ``zobench/data/synthetic`` and ``docs/nano.md``. Test examples are fixed.
Training and validation examples are drawn by the data seed from fixed pools that share no text with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zobench.data.example import Example, Splits
from zobench.data.synthetic.fewshot import LabelledText, fewshot_set, pool, sample
from zobench.parameters import Count, Parameters
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.prompts import Prompt


@dataclass(frozen=True)
class NanoFewShotConfig(Parameters):
    k: int = 16
    """Training examples per class."""
    validation_k: int = 16
    """Validation examples per class."""
    test_rows: Count = 400
    """Test examples: the first of a fixed, balanced list."""


class NanoFewShot(PromptedClassification):
    """Base of the three classification tasks; a subclass names its set."""

    Config: ClassVar[type] = NanoFewShotConfig
    set_name: ClassVar[str]

    def __init__(self, config: NanoFewShotConfig) -> None:
        chosen = fewshot_set(self.set_name)
        words = tuple(word.strip() for word in chosen.label_words)
        super().__init__(config, prompt=Prompt(chosen.prompt, words, demonstration_separator="\n"))

    def splits(self, seed: int) -> Splits:
        """Examples per class drawn by ``seed``; the demonstrations are the training examples."""
        train = examples(sample(self.set_name, "train", self.config.k, seed))
        validation = examples(sample(self.set_name, "validation", self.config.validation_k, seed))
        test = examples(pool(self.set_name, "test")[: self.config.test_rows])
        return Splits(train=train, validation=validation, test=test, demonstrations=train)


def examples(rows: Sequence[LabelledText]) -> list[Example]:
    return [Example(row.id, row.text, label=row.label, meta={"hardness": row.hardness}) for row in rows]


class NanoSentiment(NanoFewShot):
    """Opinions with negation and opposite clauses, two classes."""

    set_name = "sentiment"


class NanoTopic(NanoFewShot):
    """The topic of most things in a sentence, six classes."""

    set_name = "topic"


class NanoInference(NanoFewShot):
    """Whether the premise entails, contradicts or leaves open the hypothesis, three classes."""

    set_name = "inference"
