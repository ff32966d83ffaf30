"""A few-shot set under a prompt of the suite's own, scored by one forward pass per example.

    tasks:
      sst2: {task: prompted, params: {set: sst2, template: "Review: {sentence}\\nSentiment:",
                                      words: [Negative, Positive]}}

Sampling is that of the set under ``protocol`` (:mod:`zobench.data.sampling`). By default, an example is
scored by the first tokens of its label words at the end of the prompt: one sequence per example, where the
set's own task under ``mezo-opt`` scores one sequence per class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from zobench.data.example import Example, Splits
from zobench.data.fewshot import pools
from zobench.data.sampling import mezo_opt, mezo_roberta
from zobench.parameters import Count, NonEmpty
from zobench.tasks.classification import PromptedClassification, Scoring
from zobench.tasks.fewshot import FewShotConfig, untestable
from zobench.tasks.prompts import Prompt
from zobench.tasks.templates import MEZO_OPT

SetName = Literal[
    "sst2", "sst5", "trec", "mr", "mpqa", "rte-pascal", "rte", "cb", "boolq", "wsc", "wic", "multirc"
]


@dataclass(frozen=True, kw_only=True)
class PromptedConfig(FewShotConfig):
    """Parameters of a few-shot set under another prompt."""

    set: SetName
    """The data set, by the name of its own task."""
    template: Annotated[str, NonEmpty()]
    """Prompt with the set's text fields in braces, for instance ``"{sentence} It was"``."""
    words: Annotated[tuple[str, ...], NonEmpty()]
    """Label words, in the order of the set's classes."""
    separator: str = " "
    """Text between prompt and label word."""
    scoring: Scoring = "label-words"
    """``label-words`` (first token) or ``option-likelihood`` (whole words, one sequence per class)."""
    max_words: Count | None = None
    """Longest example, in words separated by spaces over all its text fields; longer ones are left out of
    every part, so that no text is truncated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own = MEZO_OPT[self.set]
        if len(self.words) != len(own.words):
            told = ", ".join(own.words)
            raise ValueError(
                f"words: {self.set!r} has {len(own.words)} classes ({told}), not {len(self.words)}"
            )
        prompt = Prompt(self.template, self.words)
        unknown = [name for name in prompt.fields if name not in own.fields]
        if unknown or not prompt.fields:
            told = ", ".join(f"{{{name}}}" for name in own.fields)
            named = f"no field {unknown[0]!r}" if unknown else "a template needs one"
            raise ValueError(f"template: {named}; the fields of {self.set!r} are {told}")


class PromptedFewShot(PromptedClassification):
    """See :class:`PromptedConfig`."""

    Config: ClassVar[type] = PromptedConfig

    def __init__(self, config: PromptedConfig) -> None:
        super().__init__(
            config,
            prompt=Prompt(config.template, config.words, config.separator),
            scoring=config.scoring,
            training=config.training,
            calibrated=config.calibrated,
        )

    def splits(self, seed: int) -> Splits:
        """The set's splits under its protocol, drawn from the examples of at most ``max_words`` words."""
        c = self.config
        found = pools(c.set, c.source, repository=c.hub, revision=c.revision)
        train, held_out = self._short(found.train), self._short(found.held_out)
        if not train:
            raise ValueError(f"max_words: no example of {c.set!r} has at most {c.max_words} words")
        if c.protocol == "mezo-roberta":
            return mezo_roberta(train, held_out, seed, k=c.k, test=c.test)
        dev = c.dev if held_out else 0
        return mezo_opt(train, held_out, seed, train=c.train, dev=dev, test=c.test)

    def no_rows_message(self) -> str:
        return untestable(self.config.set)

    def _short(self, rows: list[Example]) -> list[Example]:
        most = self.config.max_words
        if most is None:
            return rows
        return [e for e in rows if sum(len(text.split()) for text in e.text.values()) <= most]
