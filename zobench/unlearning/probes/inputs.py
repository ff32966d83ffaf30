"""Input probes: the same facts with other prompts. Ids, answers and values are unchanged, so scores remain
comparable.

The model is not modified. Every probe returns changed copies of the facts and raises an error for those it
cannot change.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from torch import nn

from zobench.data.synthetic.draw import stream
from zobench.parameters import Count, NonEmpty, Parameters
from zobench.unlearning.rows import LAYOUT, FactRow


@dataclass(frozen=True, slots=True)
class InputMaterial:
    """Data that an input probe may use: facts with answers to show, a seed, and the model before unlearning
    with its tokenizer, for edits chosen by a model. Nothing may depend on the probed model."""

    shots: Sequence[FactRow] = ()
    seed: int = 0
    original: nn.Module | None = None
    tokenizer: Any = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a probe; ``params`` distinguishes settings of equal strength."""

    strength: float = 1.0
    params: Mapping[str, float | str] = field(default_factory=dict)


class InputProbe(ABC):
    """Base class of probes that change the facts' prompts, not the model."""

    Config: ClassVar[type]
    name: ClassVar[str]
    kind: ClassVar[Literal["input"]] = "input"
    choices: ClassVar[bool] = False
    """Whether it shows options, so that multiple-choice accuracy of the forget facts is scored with it."""
    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    def takes(self, row: FactRow) -> bool:
        """Whether this fact can be changed; other facts are not scored under the probe."""
        return True

    def settings(self) -> Sequence[Setting]:
        """All settings, in order; one by default."""
        return (Setting(),)

    def rows_at(self, setting: Setting, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        """Changed copies with one of the settings."""
        return self.rows(rows, material)

    @abstractmethod
    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        """Changed copies with the first setting, in the same order, with the same ids and answers."""


@dataclass(frozen=True, kw_only=True)
class RephraseConfig:
    """The held-out question; no parameters."""


@dataclass(frozen=True, kw_only=True)
class PrefixConfig(Parameters):
    """A forced beginning of the answer.

    Attributes:
        text: the beginning.
    """

    text: Annotated[str, NonEmpty()] = "Sure, here is the answer:"


@dataclass(frozen=True, kw_only=True)
class FewShotProbeConfig(Parameters):
    """Facts with answers before the question.

    Attributes:
        shots: number of facts.
        same_author: take them from the same author (never the attribute in question) if there are enough,
            otherwise from all facts.
        layout: format of question and answer, as in training.
    """

    shots: Count = 4
    same_author: bool = True
    layout: str = LAYOUT


class Rephrase(InputProbe):
    """Uses the paraphrased question. Idempotent."""

    Config = RephraseConfig
    name: ClassVar[str] = "rephrase"

    def takes(self, row: FactRow) -> bool:
        return bool(row.paraphrased_question)

    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        lacking = [r.id for r in rows if not r.paraphrased_question]
        if lacking:
            raise ValueError(f"{len(lacking)} facts have no paraphrased question, first {lacking[0]!r}")
        return [dataclasses.replace(r, question=r.paraphrased_question) for r in rows]


class ForcedPrefix(InputProbe):
    """Starts the answer with a fixed text that is not scored. Idempotent."""

    Config = PrefixConfig
    name: ClassVar[str] = "prefix"
    config: PrefixConfig

    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        return [dataclasses.replace(r, answer_prefix=self.config.text) for r in rows]


class FewShot(InputProbe):
    """Puts facts of ``material.shots`` with their answers before the question, never the fact in question.

    The choice for a fact depends on (seed, its id) alone. Idempotent."""

    Config = FewShotProbeConfig
    name: ClassVar[str] = "few-shot"
    config: FewShotProbeConfig

    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        return [dataclasses.replace(r, context=self._context(r, material)) for r in rows]

    def _context(self, row: FactRow, material: InputMaterial) -> str:
        pool = [s for s in material.shots if s.id != row.id and s.answer != row.answer]
        own = [s for s in pool if s.author == row.author and s.attribute != row.attribute]
        chosen = own if self.config.same_author and len(own) >= self.config.shots else pool
        if len(chosen) < self.config.shots:
            raise ValueError(f"fact {row.id!r}: {len(chosen)} facts to show, {self.config.shots} needed")
        picked = stream(material.seed, "few-shot", row.id).sample(chosen, self.config.shots)
        lines = [f"{self.config.layout.format(question=s.question)} {s.answer}\n" for s in picked]
        return "".join(lines)
