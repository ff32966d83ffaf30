"""Probes of the question: listed options in different orders, and words replaced as in MSCR.

The changes depend only on (seed, id of the fact) and the model before unlearning, never on the probed model,
so full model, oracle and every unlearned model answer the same questions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

from zobench.attacks.protect import Rule
from zobench.data.synthetic.draw import stream
from zobench.parameters import Count, NonEmpty, OneOf, Parameters
from zobench.unlearning.probes.inputs import InputMaterial, InputProbe, Setting
from zobench.unlearning.rows import FactRow

SOURCES = ("embedding", "wordnet", "masked-lm")
MASKED_LM = "builtin:nano-mlm"


@dataclass(frozen=True, kw_only=True)
class OptionOrderProbeConfig(Parameters):
    """The right answer listed among the perturbed ones.

    Attributes:
        places: positions of the right option, from 0; -1 is the last. One variant per position.
    """

    places: tuple[int, ...] = (0, -1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.places or len(set(self.places)) < len(self.places):
            raise ValueError(f"places must be different numbers, at least one: {self.places}")


@dataclass(frozen=True, kw_only=True)
class MscrConfig(Parameters):
    """Words of the question replaced by candidates of MSCR's sources (arXiv 2511.08055).

    Attributes:
        words: words replaced in each question.
        draws: number of variants, each with other words or other candidates.
        sources: any of ``embedding`` (nearest input embeddings of the model before unlearning), ``wordnet``,
            ``masked-lm`` (the built-in one); with MSCR's order and thresholds.
        protect: protection rules; names are protected because the question is about the named person.
    """

    words: Count = 1
    draws: Count = 2
    sources: Annotated[tuple[Annotated[str, OneOf(SOURCES)], ...], NonEmpty()] = SOURCES
    protect: tuple[Rule, ...] = ("numerals", "number-words", "names")


class OptionOrderProbe(InputProbe):
    """Lists the options after the question, with the right one at each of the given positions.

    The order of the wrong ones depends on (seed, fact). A model that knows the fact gives the same answer for
    every position. Idempotent."""

    Config = OptionOrderProbeConfig
    name: ClassVar[str] = "option-order"
    choices: ClassVar[bool] = True
    config: OptionOrderProbeConfig

    def takes(self, row: FactRow) -> bool:
        return bool(row.perturbed_answers)

    def settings(self) -> Sequence[Setting]:
        return [Setting(params={"place": float(p)}) for p in self.config.places]

    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        return self.rows_at(self.settings()[0], rows, material)

    def rows_at(self, setting: Setting, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        lacking = [r.id for r in rows if not r.perturbed_answers]
        if lacking:
            raise ValueError(f"{len(lacking)} rows have no perturbed answers, first {lacking[0]!r}")
        place = int(setting.params["place"])
        return [dataclasses.replace(r, options=self._options(r, place, material.seed)) for r in rows]

    @staticmethod
    def _options(row: FactRow, place: int, seed: int) -> tuple[str, ...]:
        wrong = list(row.perturbed_answers)
        stream(seed, "option-order", row.id).shuffle(wrong)
        at = place if place >= 0 else len(wrong) + 1 + place
        if not 0 <= at <= len(wrong):
            raise ValueError(f"fact {row.id!r} has {len(wrong) + 1} options, so it has no place {place}")
        return (*wrong[:at], row.paraphrased_answer or row.answer, *wrong[at:])


class MscrEdits(InputProbe):
    """Replaces words of the question by MSCR's candidates.

    A question without candidates for any word is left unchanged. ``strength`` is the number of words."""

    Config = MscrConfig
    name: ClassVar[str] = "mscr"
    config: MscrConfig

    def settings(self) -> Sequence[Setting]:
        return [Setting(float(self.config.words), {"draw": float(draw)}) for draw in range(self.config.draws)]

    def rows(self, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        return self.rows_at(self.settings()[0], rows, material)

    def rows_at(self, setting: Setting, rows: Sequence[FactRow], material: InputMaterial) -> list[FactRow]:
        draw = int(setting.params["draw"])
        found = _Candidates(self.config.sources, material)
        return [dataclasses.replace(r, question=self._edited(r, draw, found, material.seed)) for r in rows]

    def _edited(self, row: FactRow, draw: int, candidates: _Candidates, seed: int) -> str:
        from zobench.attacks.protect import Guard
        from zobench.attacks.words import Edit, apply_edits, match_case, words

        text = row.question
        guard = Guard(text, (), self.config.protect)
        free = [w for w in words(text) if guard.free(w.start, w.end)]
        options = [(w, found) for w in free if (found := candidates.of(text, w.text, w.start, w.end))]
        stream(seed, "mscr", row.id).shuffle(options)
        count = self.config.words
        edits = []
        for i in range(draw * count, draw * count + min(count, len(options))):
            word, found = options[i % len(options)]
            chosen = found[(i // len(options)) % len(found)]
            edits.append(Edit(word.start, word.end, match_case(chosen, word.text)))
        return apply_edits(text, edits)


class _Candidates:
    """Replacements of a word in the order of the sources, with MSCR's thresholds."""

    def __init__(self, sources: Sequence[str], material: InputMaterial) -> None:
        from zobench.attacks.embedding import EmbeddingSpace

        if material.original is None or material.tokenizer is None:
            raise ValueError("MSCR's candidates need the model before unlearning and its tokenizer")
        self.sources = sources
        model: Any = material.original
        weights = model.get_input_embeddings().weight
        self.space = EmbeddingSpace(
            SimpleNamespace(tokenizer=material.tokenizer, input_embeddings=lambda: weights)
        )

    def of(self, text: str, word: str, start: int, end: int) -> list[str]:
        from zobench.attacks.lexical import same_family
        from zobench.attacks.masked import load_filler
        from zobench.attacks.mscr import MSCRConfig
        from zobench.attacks.wordnet import synonyms

        published, found = MSCRConfig(), list[str]()
        if "embedding" in self.sources:
            near = self.space.nearest(word, published.embedding_top)
            found += [w for w, _ in near if same_family(word, w)]
        if "wordnet" in self.sources:
            best = sorted(synonyms(word), key=lambda s: -self.space.cosine(word, s))
            found += best[: published.wordnet_top]
        if "masked-lm" in self.sources:
            fills = load_filler(MASKED_LM)([(text, start, end)])[0]
            found += [w for w, p in fills if p > published.masked_floor]
        return [w for w in dict.fromkeys(found) if w.lower() != word.lower()]
