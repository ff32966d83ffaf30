"""Published attacks for comparison, as compositions of sources, constraints and searches.

Constants are those of the published recipes (TextAttack 0.3.11, PromptBench) where a counterpart exists here.
The names end in ``-like`` because of these differences: counter-fitted vectors are replaced by the target
model's input embeddings, the Universal Sentence Encoder by a sentence-transformers model (its thresholds are
kept, although their meaning shifts with the encoder), the tagger by WordNet's parts of speech, and every
search has a query budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zobench.attacks.base import AttackContext
from zobench.attacks.constraints import Scale, WordConfig, editable
from zobench.attacks.embedding import EmbeddingSpace
from zobench.attacks.lockstep import Search
from zobench.attacks.options import (
    CharacterSource,
    EmbeddingSource,
    MaskedSource,
    OptionSource,
    RandomSource,
    WordNetSource,
)
from zobench.attacks.search import beam, by_importance, greedy, weighted_saliency
from zobench.attacks.session import Session, Try
from zobench.attacks.word_attack import WordAttack, vocabulary
from zobench.parameters import PositiveFraction

UNKNOWN = "[UNK]"


class Ranked(WordAttack):
    """Greedy search over words by importance (deletion, or replacement by ``substitute``)."""

    substitute: ClassVar[str | None] = None

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        order = yield from by_importance(session, editable(session, self.config), self.substitute)
        found = yield from greedy(session, self.config, order, self.options_of(session, context))
        return found


@dataclass(frozen=True, kw_only=True)
class TextFoolerConfig(WordConfig):
    same_part: bool = True
    min_word_cosine: float | None = 0.5
    min_similarity: float | None = 0.840845
    similarity_scale: Scale = "angular"
    similarity_window: int | None = 15
    candidates: int = 50
    """Nearest words considered per word."""


class TextFooler(Ranked):
    """Jin et al. 2019 (arXiv 1907.11932): 50 nearest words, same part of speech, importance by deletion."""

    Config: ClassVar[type] = TextFoolerConfig
    name: ClassVar[str] = "textfooler-like"
    config: TextFoolerConfig

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        assert space is not None
        return [EmbeddingSource(space, self.config.candidates, family=False)]

    def needs_space(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class BERTAttackConfig(WordConfig):
    stop_words: bool = False
    max_changed: PositiveFraction | None = 0.4
    min_similarity: float | None = 0.2
    candidates: int = 8
    """Masked-LM words per position (48 per word piece in the paper; 8 in TextAttack, because combinations of
    48 per piece are too many)."""
    masked_lm: str = "builtin:nano-mlm"
    """Masked LM that proposes words."""


class BERTAttack(Ranked):
    """Li et al. 2020 (arXiv 2004.09984): masked-LM words, importance by [UNK], at most 40 % of the words."""

    Config: ClassVar[type] = BERTAttackConfig
    name: ClassVar[str] = "bert-attack-like"
    substitute: ClassVar[str | None] = UNKNOWN
    config: BERTAttackConfig

    def masked_lm(self) -> str | None:
        return self.config.masked_lm

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        return [MaskedSource(0.0, self.config.candidates, scope="local")]


class PWWS(WordAttack):
    """Ren et al. 2019 (ACL P19-1103): WordNet synonyms by weighted saliency (no named-entity swap)."""

    Config: ClassVar[type] = WordConfig
    name: ClassVar[str] = "pwws"

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        return [WordNetSource(None, None, scope="local")]

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        order, options_of = editable(session, self.config), self.options_of(session, context)
        found = yield from weighted_saliency(session, self.config, order, options_of, UNKNOWN)
        return found


@dataclass(frozen=True, kw_only=True)
class CLAREConfig(WordConfig):
    stop_words: bool = True
    min_similarity: float | None = 0.7
    similarity_window: int | None = 15
    candidates: int = 50
    """Masked-LM words per position."""
    replace_floor: float = 5e-4
    """Least probability (exclusive) of a word that replaces another."""
    insert_floor: float = 0.0
    """Least probability (exclusive) of an inserted word."""
    merge_floor: float = 5e-3
    """Least probability (exclusive) of a word that replaces two."""
    beam_width: int = 1
    """1 is the greedy search of the recipe."""
    masked_lm: str = "builtin:nano-mlm"
    """Masked LM that proposes words."""


class CLARE(WordAttack):
    """Li et al. 2020 (arXiv 2009.07502): replace, insert and merge by a masked LM, best step first."""

    Config: ClassVar[type] = CLAREConfig
    name: ClassVar[str] = "clare-like"
    config: CLAREConfig

    def masked_lm(self) -> str | None:
        return self.config.masked_lm

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        config = self.config
        return [
            MaskedSource(config.replace_floor, config.candidates, scope="local"),
            MaskedSource(config.insert_floor, config.candidates, scope="local", mode="insert"),
            MaskedSource(config.merge_floor, config.candidates, scope="local", mode="merge"),
        ]

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        order, options_of = editable(session, self.config), self.options_of(session, context)
        found = yield from beam(session, self.config, order, options_of, self.config.beam_width)
        return found


@dataclass(frozen=True, kw_only=True)
class TextBuggerConfig(WordConfig):
    min_similarity: float | None = 0.8
    neighbours: int = 5
    """Nearest words in the embedding space, in addition to character edits; with 0 no target model is
    needed."""


class TextBugger(Ranked):
    """Li et al. 2018 (arXiv 1812.05271): split, delete, swap, look-alike, or a neighbouring word."""

    Config: ClassVar[type] = TextBuggerConfig
    name: ClassVar[str] = "textbugger-like"
    config: TextBuggerConfig

    def needs_space(self) -> bool:
        return self.config.neighbours > 0 or super().needs_space()

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        found: list[OptionSource] = [CharacterSource(("split", "delete", "swap", "look-alike"))]
        if self.config.neighbours > 0 and space is not None:
            found.append(EmbeddingSource(space, self.config.neighbours, family=False))
        return found


@dataclass(frozen=True, kw_only=True)
class DeepWordBugConfig(WordConfig):
    max_words: int | None = 30
    """The published limit is a Levenshtein distance of 30; with one character edit per word, 30 words."""


class DeepWordBug(Ranked):
    """Gao et al. 2018 (arXiv 1801.04354): one swap, substitution, deletion or insertion per word."""

    Config: ClassVar[type] = DeepWordBugConfig
    name: ClassVar[str] = "deepwordbug-like"
    substitute: ClassVar[str | None] = UNKNOWN

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        return [CharacterSource(("swap", "keyboard", "delete", "insert"), keep_ends=False)]


@dataclass(frozen=True, kw_only=True)
class RandomConfig(WordConfig):
    candidates: int = 8
    """Random words per position."""


class RandomCandidates(Ranked):
    """Baseline of word attacks: the same greedy search with random words of the task's own vocabulary."""

    Config: ClassVar[type] = RandomConfig
    name: ClassVar[str] = "random-candidates"
    config: RandomConfig

    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        return [RandomSource(vocabulary(context), self.config.candidates)]
