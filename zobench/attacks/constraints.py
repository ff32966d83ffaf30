"""Constraints that a candidate must satisfy before the victim is queried.

Word constraints compare the word and its replacement; text constraints compare the whole draft with the
original. Constants of the published recipes are in ``comparators.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zobench.attacks.base import AppliedEdit, SearchConfig
from zobench.attacks.embedding import EmbeddingSpace
from zobench.attacks.lexical import is_stop_word
from zobench.attacks.lockstep import Ask, Search
from zobench.attacks.options import Option, combined, compatible, main_part
from zobench.attacks.session import Draft, Session
from zobench.attacks.similarity import DEFAULT_ENCODER, angular
from zobench.attacks.wordnet import parts_of_speech
from zobench.attacks.words import Edit, apply_edits, words
from zobench.parameters import Count, PositiveFraction

SIMILARITY = "similarity"
"""Name of the sentence-similarity service."""


Scale = Literal["cosine", "angular"]


@dataclass(frozen=True, kw_only=True)
class WordConfig(SearchConfig):
    """Parameters that all word-substitution attacks share."""

    budget: Count | None = 64
    """Queries per example, the clean one and the confirmations included."""
    max_changed: PositiveFraction | None = None
    """Greatest share of the text's words that may be edited."""
    max_words: int | None = None
    """Greatest number of words edited together."""
    stop_words: bool = False
    """Whether stop words may be replaced."""
    same_part: bool = False
    """Whether word and replacement must share a WordNet part of speech (nouns and verbs count as one; words
    missing from WordNet are accepted).
    """
    min_word_cosine: float | None = None
    """Least cosine of word and replacement in the target model's input embeddings."""
    min_similarity: float | None = None
    """Least sentence similarity of draft and original."""
    similarity_scale: Scale = "cosine"
    """``cosine`` or ``angular`` (one minus angle over pi)."""
    similarity_window: int | None = None
    """Words around the edit that are compared; texts shorter than this are not compared at all."""
    sentence_encoder: str = DEFAULT_ENCODER
    """Model of the sentence similarity."""


def editable(session: Session, config: WordConfig) -> list[int]:
    """Indices of the words that may be edited, in order."""
    return [
        i
        for i, w in enumerate(words(session.original))
        if session.guard.free(w.start, w.end)
        and any(c.isalpha() for c in w.text)
        and (config.stop_words or not is_stop_word(w.text))
    ]


def word_allowed(option: Option, config: WordConfig, space: EmbeddingSpace | None) -> bool:
    """Whether the option satisfies the word constraints of ``config``."""
    if not config.stop_words and is_stop_word(option.replacement):
        return False
    if config.same_part and not _same_part(option.word, option.replacement):
        return False
    if config.min_word_cosine is None or space is None:
        return True
    return space.cosine(option.word, option.replacement) >= config.min_word_cosine


def _same_part(word: str, replacement: str) -> bool:
    a, b = set(parts_of_speech(word)), set(parts_of_speech(replacement))
    if not a or not b or a & b:
        return True
    return bool(a & {"NOUN", "VERB"} and b & {"NOUN", "VERB"})


def most_words(session: Session, config: WordConfig) -> int:
    """Words that may be edited together; at least one."""
    limits = [len(words(session.original))]
    if config.max_changed is not None:
        limits.append(int(config.max_changed * limits[0]))
    if config.max_words is not None:
        limits.append(config.max_words)
    return max(1, min(limits))


def drafts(
    session: Session, config: WordConfig, applied: Sequence[Option], tried: Sequence[Option]
) -> Search[list[tuple[Draft, Option]]]:
    """Drafts of the applied options plus one tried option each, if the text constraints allow it.

    At most as many as the session can still query. Compatibility is checked before sentence similarity,
    which needs a model.
    """
    if len(applied) + 1 > most_words(session, config):
        return []
    left: list[tuple[Option, float | None]] = [(o, None) for o in tried if compatible([*applied, o])]
    if config.min_similarity is not None and left and _is_compared(session, config):
        pairs = tuple(_compared(session.original, [*applied, o], config.similarity_window) for o, _ in left)
        cosines = yield Ask(SIMILARITY, pairs)
        scale = angular if config.similarity_scale == "angular" else float
        seen = [(o, c) for (o, _), c in zip(left, cosines, strict=True)]
        left = [(o, c) for o, c in seen if scale(c) >= config.min_similarity]
    found: list[tuple[Draft, Option]] = []
    for option, similarity in left:
        if len(found) >= session.left:
            break
        text = combined(session.original, [*applied, option])
        if session.guard.keeps(text):
            size = sum(len(o.edits) for o in applied) + len(option.edits)
            part = main_part(option.word)
            edits = tuple(_as_applied(o) for o in (*applied, option))
            draft = Draft(text, size, option.source, option.position, part, similarity, edits)
            found.append((draft, option))
    return found


def _as_applied(option: Option) -> AppliedEdit:
    part = main_part(option.word)
    return AppliedEdit(option.source, option.position, part, option.word, option.replacement)


def _is_compared(session: Session, config: WordConfig) -> bool:
    """False for texts shorter than the window: they are exempt, as in the published recipes."""
    return config.similarity_window is None or len(words(session.original)) >= config.similarity_window


def _compared(original: str, chosen: Sequence[Option], window: int | None) -> tuple[str, str]:
    """The two texts to compare: whole, or the window of words around the last option's position."""
    edits = [e for o in chosen for e in o.edits]
    if window is None:
        return original, apply_edits(original, edits)
    spans = words(original)
    first = max(0, min(chosen[-1].position - window // 2, len(spans) - window))
    a, b = spans[first].start, spans[min(first + window, len(spans)) - 1].end
    inside = [Edit(e.start - a, e.end - a, e.replacement) for e in edits if a <= e.start and e.end <= b]
    return original[a:b], apply_edits(original[a:b], inside)
