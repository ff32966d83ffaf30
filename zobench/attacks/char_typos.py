"""Character typos: random typing errors, with several independent tries.

A try makes ``edits`` typos in different words (one character edit each, first and last letter kept) and
queries the text. The tries are independent; the attack succeeds at the first wrong answer. Cost: at most 1 +
``tries`` queries per example. Budget-matched random baseline (null): as many tries with as many
meaning-preserving edits (spelling variants, contractions, spacing, typography).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Annotated, ClassVar

from zobench.attacks.base import AppliedEdit, AttackContext, SearchConfig
from zobench.attacks.chars import KINDS, edit_word
from zobench.attacks.composed import ComposedAttack
from zobench.attacks.lockstep import Search
from zobench.attacks.search import brute_force
from zobench.attacks.session import Draft, Session, Try
from zobench.attacks.words import Edit, Span, apply_edits, graphemes, words
from zobench.parameters import Count, NonEmpty, OneOf

_RESAMPLES = 8
"""Draws per try: a draw may change nothing or touch protected text."""


TypoKind = Annotated[str, OneOf(tuple(KINDS))]


@dataclass(frozen=True, kw_only=True)
class CharTyposConfig(SearchConfig):
    edits: Count = 2
    """Typos per try, in different words."""
    tries: Count = 3
    """Edited texts queried per example, besides the clean one."""
    kinds: Annotated[tuple[TypoKind, ...], NonEmpty()] = (
        "keyboard",
        "swap",
        "insert",
        "delete",
    )
    """Character edits to choose from, uniformly."""
    min_length: int = 4
    """Shorter words are left unchanged."""
    keep_ends: bool = True
    """Whether the first and last letter of a word stay."""


class CharTypos(ComposedAttack):
    """Random typos (compare Pruthi et al., arXiv 1905.11268). Black box: it reads only the answers."""

    Config = CharTyposConfig
    name: ClassVar[str] = "char-typos"
    config: CharTyposConfig

    def intensity(self) -> tuple[str, float]:
        """Typos per try."""
        return "edits", self.config.edits

    def search(self, session: Session, context: AttackContext) -> Search[Try | None]:
        sites = self._sites(session)
        drawn = iter(lambda: self._draft(session, sites), None)
        won = yield from brute_force(session, list(islice(drawn, self.config.tries)))
        return won

    def _sites(self, session: Session) -> list[tuple[int, Span]]:
        return [
            (i, w)
            for i, w in enumerate(words(session.original))
            if session.guard.free(w.start, w.end)
            and len(graphemes(w.text)) >= self.config.min_length
            and any(c.isalpha() for c in w.text)
        ]

    def _draft(self, session: Session, sites: list[tuple[int, Span]]) -> Draft | None:
        for _ in range(_RESAMPLES):
            chosen = session.random.sample(sites, min(self.config.edits, len(sites)))
            edits: list[Edit] = []
            applied: list[AppliedEdit] = []
            for index, word in chosen:
                kind = session.random.choice(self.config.kinds)
                typed = edit_word(word.text, kind, session.random, keep_ends=self.config.keep_ends)
                if typed is not None:
                    edits.append(Edit(word.start, word.end, typed))
                    applied.append(AppliedEdit(kind, index, "", word.text, typed))
            text = apply_edits(session.original, edits)
            if edits and session.guard.keeps(text):
                last = applied[-1]
                return Draft(text, len(edits), last.source, last.position, edits=tuple(applied))
        return None
