"""Base class of word-substitution attacks: sources, constraints and helper models, built once per context."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from zobench.attacks.base import AttackContext
from zobench.attacks.composed import ComposedAttack
from zobench.attacks.constraints import SIMILARITY, WordConfig, word_allowed
from zobench.attacks.distractors import TEMPLATES, THINGS
from zobench.attacks.embedding import EmbeddingSpace
from zobench.attacks.lockstep import Search, Service
from zobench.attacks.masked import load_filler
from zobench.attacks.options import MASKED, Option, OptionSource, options
from zobench.attacks.search import OptionsOf
from zobench.attacks.session import Session
from zobench.attacks.similarity import load_similarity
from zobench.attacks.words import words


class WordAttack(ComposedAttack):
    """Takes candidates for words from ``sources``; the ``search`` of the subclass combines them."""

    config: WordConfig

    def __init__(self, config: WordConfig | None = None) -> None:
        super().__init__(config)
        self._built: tuple[AttackContext | None, Sequence[OptionSource], EmbeddingSpace | None] = (
            None,
            (),
            None,
        )

    @abstractmethod
    def sources(self, context: AttackContext, space: EmbeddingSpace | None) -> Sequence[OptionSource]:
        """Candidate sources in order of priority."""

    def needs_space(self) -> bool:
        """Whether the attack reads the target model's embeddings."""
        return self.config.min_word_cosine is not None

    def masked_lm(self) -> str | None:
        """Name of the masked LM; ``None`` if no source needs one."""
        return None

    def services(self, context: AttackContext) -> Mapping[str, Service]:
        found: dict[str, Service] = {}
        name = self.masked_lm()
        if name is not None:
            found[MASKED] = load_filler(name)
        if self.config.min_similarity is not None:
            found[SIMILARITY] = load_similarity(self.config.sentence_encoder)
        return found

    def options_of(self, session: Session, context: AttackContext) -> OptionsOf:
        """Function from a word's position to its options that satisfy the word constraints.

        The options of a word are looked up once per example.
        """
        sources, space = self._parts(context)
        known: dict[int, list[Option]] = {}

        def of(position: int) -> Search[list[Option]]:
            if position not in known:
                found = yield from options(session, sources, position)
                known[position] = [o for o in found if word_allowed(o, self.config, space)]
            return known[position]

        return of

    def _parts(self, context: AttackContext) -> tuple[Sequence[OptionSource], EmbeddingSpace | None]:
        if self._built[0] is not context:
            space = self._space(context.lm) if self.needs_space() else None
            self._built = (context, self.sources(context, space), space)
        return self._built[1], self._built[2]

    def _space(self, lm: Any) -> EmbeddingSpace:
        if lm is None:
            raise ValueError(
                f"attack {self.name!r} reads the target model's embeddings, but no model was given"
            )
        return EmbeddingSpace(lm)


def vocabulary(context: AttackContext) -> list[str]:
    """Sorted words of three letters or more in the context's pool (if empty: in the built-in templates)."""
    texts = [t for e in context.pool for t in e.text.values()] or [*TEMPLATES, *THINGS]
    return sorted({w.text.lower() for t in texts for w in words(t) if w.text.isalpha() and len(w.text) > 2})
