"""Probes of the input: the same fact asked otherwise. Ids, answers and values stay, so scores stay
comparable.

The model is not touched. Every probe returns changed copies of the rows; what it cannot change it refuses.
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
    """What a probe of the input may use: solved facts to show, a seed, and the model before unlearning with
    its tokenizer, for edits that are chosen by a model. Nothing may depend on the model that is probed."""

    shots: Sequence[FactRow] = ()
    seed: int = 0
    original: nn.Module | None = None
    tokenizer: Any = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One way a probe changes rows; ``params`` tells apart settings of equal strength."""

    strength: float = 1.0
    params: Mapping[str, float | str] = field(default_factory=dict)


class InputProbe(ABC):
    """Changes rows, not the model."""

    Config: ClassVar[type]
    name: ClassVar[str]
    kind: ClassVar[Literal["input"]] = "input"
    choices: ClassVar[bool] = False
    """Whether it shows options, so that multiple-choice accuracy of the forget facts is scored after it."""
    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    def takes(self, row: FactRow) -> bool:
        """Whether this row can be changed; the others are left out of what is scored after the probe."""
        return True

    def settings(self) -> Sequence[Setting]:
        """All ways it changes rows, one after the other; one by default."""
        return (Setting(),)

    def rows_at(self, setting: Setting, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        """Changed copies under one of the settings."""
        return self.rows(rows, material)

    @abstractmethod
    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        """Changed copies in the same order, with the same ids and answers; under the first setting."""


@dataclass(frozen=True, kw_only=True)
class RephraseConfig:
    """The held-out question; no parameters."""


@dataclass(frozen=True, kw_only=True)
class PrefixConfig(Parameters):
    """A forced beginning of the answer.

    Attributes:
        text: what the answer is forced to start with.
    """

    text: Annotated[str, NonEmpty()] = "Sure, here is the answer:"


@dataclass(frozen=True, kw_only=True)
class FewShotProbeConfig(Parameters):
    """Solved facts before the question.

    Attributes:
        shots: how many.
        same_author: take them from the facts of the same author (never the asked attribute) where there are
            enough; otherwise from all.
        layout: how question and answer are written, as in training.
    """

    shots: Count = 4
    same_author: bool = True
    layout: str = LAYOUT


class Rephrase(InputProbe):
    """Asks by the paraphrased question. Idempotent."""

    Config = RephraseConfig
    name: ClassVar[str] = "rephrase"

    def takes(self, row: FactRow) -> bool:
        return bool(row.paraphrased_question)

    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        lacking = [r.id for r in rows if not r.paraphrased_question]
        if lacking:
            raise ValueError(f"{len(lacking)} rows have no paraphrased question, first {lacking[0]!r}")
        return [dataclasses.replace(r, question=r.paraphrased_question) for r in rows]


class ForcedPrefix(InputProbe):
    """Starts the answer with a fixed text, not scored. Idempotent."""

    Config = PrefixConfig
    name: ClassVar[str] = "prefix"
    config: PrefixConfig

    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        return [dataclasses.replace(r, answer_prefix=self.config.text) for r in rows]


class FewShot(InputProbe):
    """Puts solved facts of ``material.shots`` before the question, never the asked fact itself. A row's shots
    depend on (seed, its id) alone. Idempotent."""

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
            raise ValueError(f"row {row.id!r}: {len(chosen)} facts to show, {self.config.shots} asked")
        picked = stream(material.seed, "few-shot", row.id).sample(chosen, self.config.shots)
        lines = [f"{self.config.layout.format(question=s.question)} {s.answer}\n" for s in picked]
        return "".join(lines)
