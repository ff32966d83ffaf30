"""Candidate replacements for one word of the original text, and the sources they come from.

An :class:`Option` is a set of edits of the original text, so options at different words can be combined and
undone. A source may call helper services but never queries the victim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, Protocol

from zobench.attacks.chars import edit_word
from zobench.attacks.embedding import EmbeddingSpace
from zobench.attacks.lexical import same_family
from zobench.attacks.lockstep import Ask, Search
from zobench.attacks.session import Session
from zobench.attacks.wordnet import parts_of_speech, synonyms
from zobench.attacks.words import Edit, Span, apply_edits, match_case, words

Scope = Literal["local", "global"]
MaskedMode = Literal["replace", "insert", "merge"]
MASKED = "masked"
"""Name of the masked-LM service."""


@dataclass(frozen=True, slots=True)
class Option:
    """Edits of the original text that belong together.

    Attributes:
        word, replacement: the word and its replacement (for word-level constraints).
        source: name of the source.
        position: index of the word in the text.
    """

    edits: tuple[Edit, ...]
    word: str
    replacement: str
    source: str
    position: int


OptionPlace = tuple[str, int, int]
Fill = tuple[str, float]


class OptionSource(Protocol):
    """A source of candidates. ``name`` goes to the records; ``scope`` is ``local`` (replace this occurrence)
    or ``global`` (replace every occurrence).
    """

    name: str
    scope: Scope

    def place(self, session: Session, word: Span) -> OptionPlace | None:
        """The masked LM's input, a text and a range in it; ``None`` if the source needs no masked LM."""
        ...

    def candidates(self, session: Session, word: Span, fills: Sequence[Fill]) -> list[str]:
        """Replacements of a word in order of priority, given the masked LM's (word, probability) pairs."""
        ...


class Local:
    """A source that needs no masked LM."""

    def place(self, session: Session, word: Span) -> OptionPlace | None:
        return None


class EmbeddingSource(Local):
    """Nearest words in the target model's own input embeddings: top ``count`` by cosine, then the filters."""

    name = "embedding"

    def __init__(
        self, space: EmbeddingSpace, count: int, *, scope: Scope = "local", family: bool = True
    ) -> None:
        self.scope, self._space, self._count, self._family = scope, space, count, family

    def candidates(self, session: Session, word: Span, fills: Sequence[Fill]) -> list[str]:
        near = self._space.nearest(word.text, self._count)
        return [w for w, _ in near if not self._family or same_family(word.text, w)]


class WordNetSource(Local):
    """All lemmas of all synsets; if a space is given, the ``count`` of highest cosine, best first."""

    name = "wordnet"

    def __init__(self, count: int | None, space: EmbeddingSpace | None, *, scope: Scope = "global") -> None:
        self.scope, self._count, self._space = scope, count, space

    def candidates(self, session: Session, word: Span, fills: Sequence[Fill]) -> list[str]:
        found = list(synonyms(word.text))
        if self._space is not None:
            space = self._space
            found.sort(key=lambda s: -space.cosine(word.text, s))
        return found[: self._count]


class MaskedSource:
    """Words with a masked-LM probability above ``floor`` at the word's position, at most ``count``.

    ``mode`` insert proposes a word after this one, merge one word for this and the next (CLARE).
    """

    def __init__(
        self, floor: float, count: int = 50, *, scope: Scope = "global", mode: MaskedMode = "replace"
    ) -> None:
        self.name = "masked-lm" if mode == "replace" else f"masked-lm-{mode}"
        self.scope, self.mode, self._floor, self._count = scope, mode, floor, count

    def place(self, session: Session, word: Span) -> OptionPlace | None:
        text = session.original
        if self.mode == "insert":
            # The underscore is the range that the masked LM replaces by its mask.
            return f"{text[: word.end]} _{text[word.end :]}", word.end + 1, word.end + 2
        if self.mode == "replace":
            return text, word.start, word.end
        following = next_word(text, word)
        if following is None or not session.guard.free(word.start, following.end):
            return None
        return text, word.start, following.end

    def candidates(self, session: Session, word: Span, fills: Sequence[Fill]) -> list[str]:
        kept = [w for w, p in fills if p > self._floor and w.lower() != word.text.lower()][: self._count]
        return [f"{word.text} {w}" for w in kept] if self.mode == "insert" else kept


class CharacterSource(Local):
    """One random character edit of each kind per word (split, delete, swap, look-alike …)."""

    name = "characters"
    scope: Scope = "local"

    def __init__(self, kinds: Sequence[str], *, keep_ends: bool = True) -> None:
        self._kinds, self._keep_ends = tuple(kinds), keep_ends

    def candidates(self, session: Session, word: Span, fills: Sequence[Fill]) -> list[str]:
        typed = [edit_word(word.text, k, session.random, keep_ends=self._keep_ends) for k in self._kinds]
        return list(dict.fromkeys(t for t in typed if t is not None))


class RandomSource(Local):
    """Uniformly random words of a vocabulary: a baseline for the effect of an arbitrary replacement."""

    name = "random"
    scope: Scope = "local"

    def __init__(self, vocabulary: Sequence[str], count: int) -> None:
        self._vocabulary, self._count = list(vocabulary), count

    def candidates(self, session: Session, word: Span, fills: Sequence[Fill]) -> list[str]:
        # One more than needed, in case the word itself is drawn.
        drawn = session.random.sample(self._vocabulary, min(self._count + 1, len(self._vocabulary)))
        return [w for w in drawn if w.lower() != word.text.lower()][: self._count]


def options(session: Session, sources: Sequence[OptionSource], position: int) -> Search[list[Option]]:
    """All candidates for a word from all sources, in the order of the sources, without duplicates."""
    word = words(session.original)[position]
    found: dict[str, Option] = {}
    for source in sources:
        place = source.place(session, word)
        fills: list[Fill] = []
        if place is not None:
            [fills] = yield Ask(MASKED, (place,))
        for candidate in source.candidates(session, word, fills):
            replacement = match_case(candidate, word.text)
            if replacement == word.text or replacement in found:
                continue
            edits = _edits(session, word, replacement, source)
            found[replacement] = Option(edits, word.text, replacement, source.name, position)
    return list(found.values())


def _edits(session: Session, word: Span, replacement: str, source: OptionSource) -> tuple[Edit, ...]:
    if isinstance(source, MaskedSource) and source.mode == "merge":
        following = next_word(session.original, word)
        assert following is not None
        return (Edit(word.start, following.end, replacement),)
    if source.scope == "local":
        return (Edit(word.start, word.end, replacement),)
    return tuple(
        Edit(w.start, w.end, replacement)
        for w in words(session.original)
        if w.text == word.text and session.guard.free(w.start, w.end)
    )


def next_word(text: str, word: Span) -> Span | None:
    """The following word if only white space lies between; else ``None``."""
    following = next((w for w in words(text) if w.start >= word.end), None)
    return following if following is not None and text[word.end : following.start].isspace() else None


def compatible(chosen: Sequence[Option]) -> bool:
    """Whether no two options edit the same characters."""
    edits = sorted((e for o in chosen for e in o.edits), key=lambda e: (e.start, e.end))
    return all(a.end <= b.start for a, b in pairwise(edits))


def combined(text: str, chosen: Sequence[Option]) -> str:
    """The original text with all options applied; they must be compatible."""
    return apply_edits(text, [e for o in chosen for e in o.edits])


@lru_cache(maxsize=50_000)
def main_part(word: str) -> str:
    """Most frequent WordNet part of speech, without context; ``OTHER`` for words missing from WordNet."""
    tags = parts_of_speech(word)
    return tags[0] if tags else "OTHER"
