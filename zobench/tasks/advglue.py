"""AdvGLUE's development set as a fixed adversarial test set: accuracy only, without a search.

Training and validation examples are those of the clean task of the same name if zobench has it (``sst2``
from local files or the hub, ``rte`` from the hub). The other parts have none and are measured without
training. Compare with the same method on the clean task, which trains on the same examples for the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from zobench.data.advglue import COLUMNS, adversarial_rows
from zobench.data.example import Example, Splits
from zobench.parameters import Count, CountOrZero, OneOf, Parameters
from zobench.tasks.classification import PromptedClassification, TrainingMode
from zobench.tasks.fewshot import DataSource, FewShotConfig, draw_splits
from zobench.tasks.prompts import Prompt
from zobench.tasks.templates import prompt_for

_INFERENCE = ("Yes", "Maybe", "No")
PROMPTS: Mapping[str, Prompt] = {
    "sst2": prompt_for("sst2", "mezo-opt"),
    "qqp": Prompt(
        "{question1}\n{question2}\nDo these two questions ask the same? Yes or No?\n",
        ("No", "Yes"),
        separator="",
    ),
    "mnli": Prompt(
        'Suppose {premise} Can we infer that "{hypothesis}"? Yes, No, or Maybe?\n', _INFERENCE, separator=""
    ),
    "qnli": Prompt(
        '{sentence}\nDoes this answer the question "{question}"? Yes or No?\n', ("Yes", "No"), separator=""
    ),
    "rte": Prompt(
        '{sentence1}\nDoes this mean that "{sentence2}" is true? Yes or No?\n', ("Yes", "No"), separator=""
    ),
}
"""Words in the order of GLUE's labels: entailment is 0 in MNLI, QNLI and RTE, a duplicate is 1 in QQP."""


@dataclass(frozen=True, kw_only=True)
class AdvGLUEConfig(Parameters):
    """Parameters of the AdvGLUE task."""

    part: Annotated[str, OneOf(tuple(COLUMNS))] = "sst2"
    """``sst2``, ``qqp``, ``mnli``, ``mnli-mm``, ``qnli`` or ``rte``."""
    source: DataSource = "local"
    """``local`` file under ZOBENCH_DATA, or the ``hub``."""
    train: Count = 1000
    """Training examples, if the part has any."""
    dev: CountOrZero = 500
    """Validation examples, if the part has any."""
    training: TrainingMode = "classification"
    """Training loss, as in the clean task."""
    hub: str | None = None
    """Hub repository other than the usual one."""
    revision: str | None = None
    """Commit of the hub repository."""


class AdvGLUE(PromptedClassification):
    """One part of AdvGLUE's development set."""

    Config: ClassVar[type] = AdvGLUEConfig
    name: ClassVar[str] = "advglue"

    def __init__(self, config: AdvGLUEConfig) -> None:
        prompt = PROMPTS[config.part.removesuffix("-mm")]
        super().__init__(config, prompt=prompt, scoring="option-likelihood", training=config.training)

    def splits(self, seed: int) -> Splits:
        """All adversarial examples as the test set; clean examples of the same task for training, if any."""
        config = self.config
        test = adversarial_rows(config.part, config.source, repository=config.hub, revision=config.revision)
        if config.part != "sst2" and not (config.part == "rte" and config.source == "hub"):
            return Splits([], [], test)
        clean = draw_splits(
            config.part, FewShotConfig(source=config.source, train=config.train, dev=config.dev), seed
        )
        if config.part == "sst2":
            return Splits(clean.train, clean.validation, test, clean.demonstrations)
        parts = [
            [_renamed(e) for e in rows] for rows in (clean.train, clean.validation, clean.demonstrations)
        ]
        return Splits(parts[0], parts[1], test, parts[2])


def _renamed(example: Example) -> Example:
    """SuperGLUE's RTE example under GLUE's column names."""
    text = {"sentence1": example.text["premise"], "sentence2": example.text["hypothesis"]}
    return Example(example.id, text, label=example.label)
