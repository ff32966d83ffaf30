"""Words and sentences as spans of the original text, edits by span, and the word difference of two texts.

No function normalizes the text: characters outside an edited span are left unchanged, including emoji,
right-to-left text, LaTeX and HTML. A *word* is a maximal run of letters, combining marks, digits and
underscores, with single apostrophes, hyphens and zero-width joiners between letters, and with ``. , : /``
between digits (``1,000.50``, ``1/2``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

import regex

_WORD = regex.compile(
    r"\p{N}+(?:[.,:/]\p{N}+)*(?:[\p{L}\p{M}\p{N}_]|(?<=[\p{L}\p{N}])-(?=[\p{L}\p{N}]))*"
    r"|[\p{L}\p{M}\p{N}_]+(?:['’\u200c\u200d·-](?=[\p{L}\p{M}\p{N}])[\p{L}\p{M}\p{N}_]+)*"
)
_GRAPHEME = regex.compile(r"\X")
_BOUNDARY = regex.compile(
    r"(?<!\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|etc|e\.g|i\.e|No|approx|a\.m|p\.m))[.!?。！？؟]+[\"'”’)\]]*(?=\s|$)"
)
_ALIGN_LIMIT = 4_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range ``[start, end)`` of characters and the text in it."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters ``[start, end)`` by ``replacement``; an insertion has ``start == end``."""

    start: int
    end: int
    replacement: str


@lru_cache(maxsize=256)
def words(text: str) -> tuple[Span, ...]:
    """The words of a text in logical (storage) order."""
    return tuple(Span(m.group(), m.start(), m.end()) for m in _WORD.finditer(text))


def graphemes(text: str) -> list[str]:
    """User-perceived characters: a letter with its marks, or an emoji with its modifiers, counts as one."""
    return _GRAPHEME.findall(text)


@lru_cache(maxsize=256)
def sentences(text: str) -> tuple[Span, ...]:
    """Sentences without the white space between them; an end mark counts only before space or the end."""
    found, begin = [], 0
    for end in [m.end() for m in _BOUNDARY.finditer(text)] + [len(text)]:
        body = text[begin:end]
        stripped = body.strip()
        if stripped:
            start = begin + body.index(stripped)
            found.append(Span(stripped, start, start + len(stripped)))
        begin = end
    return tuple(found)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits applied; spans refer to the unedited text and must not overlap."""
    pieces, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        assert at <= edit.start <= edit.end <= len(text), f"overlapping or misplaced edit {edit}"
        pieces += [text[at : edit.start], edit.replacement]
        at = edit.end
    return "".join(pieces) + text[at:]


def changed_words(original: str, edited: str) -> int:
    """Number of words that were replaced, removed or inserted.

    Texts with equally many words are compared position by position. Others are aligned, and the differing
    words of the alignment are counted. Above 4 million word pairs the difference of the two bags of words is
    used instead (a lower bound), which keeps very long texts cheap."""
    a = [w.text for w in words(original)]
    b = [w.text for w in words(edited)]
    if len(a) == len(b):
        return sum(x != y for x, y in zip(a, b, strict=True))
    a, b = _without_common_ends(a, b)
    if len(a) * len(b) > _ALIGN_LIMIT:
        gone, new = Counter(a) - Counter(b), Counter(b) - Counter(a)
        return max(gone.total(), new.total())
    codes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in codes if tag != "equal")


def _without_common_ends(a: Sequence[str], b: Sequence[str]) -> tuple[list[str], list[str]]:
    short = min(len(a), len(b))
    head = next((i for i in range(short) if a[i] != b[i]), short)
    rest = short - head
    tail = next((i for i in range(rest) if a[-1 - i] != b[-1 - i]), rest)
    return list(a[head : len(a) - tail]), list(b[head : len(b) - tail])


def match_case(word: str, like: str) -> str:
    """``word`` in the letter case of ``like``: all capitals, first letter capital, or unchanged."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    if like[:1].isupper():
        return word[:1].upper() + word[1:]
    return word


def in_style(sentence: str, text: str) -> str:
    """The sentence in the letter case and the final spacing of the text (some data sets are lower-cased)."""
    lower, spaced = _style(text)
    if lower:
        sentence = sentence.lower()
    return f"{sentence[:-1]} {sentence[-1]}" if spaced else sentence


@lru_cache(maxsize=256)
def _style(text: str) -> tuple[bool, bool]:
    """Whether the text has letters but no capitals, and whether a space stands before its final mark."""
    lower = text == text.lower() and any(c.isalpha() for c in text)
    return lower, text.rstrip().endswith((" .", " ?", " !"))
