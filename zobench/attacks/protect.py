"""Protected text: numerals, number words, units, LaTeX, markup, placeholders and the task's own words.

A rule finds spans. The :class:`Guard` of a text holds the merged spans and decides whether an edit is
allowed: the sequence of protected texts after the edit must equal the sequence before it, with nothing lost,
changed or added.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated

import regex

from zobench.attacks.words import Span
from zobench.parameters import OneOf

RULES: tuple[str, ...] = ("numerals", "number-words", "units", "latex", "markup", "placeholders")
"""Rules that are on by default."""
OPTIONAL_RULES: tuple[str, ...] = ("comparatives", "names")
Rule = Annotated[str, OneOf(RULES + OPTIONAL_RULES)]


def _listed_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBER_WORDS = _listed_words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand "
    "million billion dozen dozens hundreds thousands millions first second third fourth fifth sixth seventh "
    "eighth ninth tenth half halves quarter quarters thirds once twice thrice double triple quadruple pair "
    "pairs couple both single"
)
UNITS = _listed_words(
    "dollar dollars cent cents euro euros pound pounds penny pennies percent percentage second seconds "
    "minute minutes hour hours day days week weeks month months year years decade decades century mile "
    "miles kilometer kilometers kilometre kilometres meter meters metre metres centimeter centimeters "
    "millimeter millimeters inch inches foot feet yard yards acre acres gallon gallons liter liters litre "
    "litres quart quarts pint pints cup cups ounce ounces gram grams kilogram kilograms ton tons tonne "
    "tonnes degree degrees"
)
COMPARATIVES = _listed_words(
    "more less fewer most least than as many much times each every per remaining left"
)
_SHORT_UNITS = r"(?:km|cm|mm|m|kg|g|mg|lbs?|oz|ft|in|yd|mi|mph|l|ml|hrs?|h|min|s|sec|gb|mb|kb|cents?|¢)"
_NUMERAL = (
    r"[-+±]?[$€£¥₹]?\s?(?<![\p{L}\p{M}\p{N}_])[\p{L}_]*\p{N}[\p{L}\p{M}\p{N}_]*"
    r"(?:[.,:/^-][\p{L}\p{N}_]+)*\s?[%‰°]?"
)
_MONEY = regex.compile(r"\d[\d,.]*[.?!,;:)]?\s+(?:.*\s)?\p{L}{2,}", regex.DOTALL)

_PATTERNS = {
    "numerals": regex.compile(_NUMERAL),
    "short-units": regex.compile(rf"(?<=\p{{N}}\s?){_SHORT_UNITS}(?![\p{{L}}\p{{N}}])", regex.IGNORECASE),
    "words": regex.compile(r"(?<![\p{L}\p{M}\p{N}_])\p{L}+(?:-\p{L}+)*(?![\p{L}\p{M}\p{N}_])"),
    "latex": regex.compile(
        r"\[asy\].*?(?:\[/asy\]|$(?![\s\S]))|\$\$.+?\$\$|\\\(.*?\\\)|\\\[.*?\\\]|\\begin\{(\w+\*?)\}.*?\\end\{\1\}"
        r"|\\\p{L}+\*?(?:\s?(?:\[[^\]\n]{0,80}\]|\{(?:[^{}]|\{[^{}]*\}){0,400}\}))*",
        regex.DOTALL,
    ),
    "markup": regex.compile(
        r"<[!/?|]?\p{L}[^<>]{0,400}>|<!--.*?-->|&(?:#\d+|#x[\da-fA-F]+|\w+);|(?:https?://|www\.)[^\s<>]+"
        r"|[\w.+-]+@[\w-]+\.[\w.-]+",
        regex.DOTALL,
    ),
    "placeholders": regex.compile(
        r"\{\{?[^{}\n]{0,80}\}?\}|\[\p{Lu}[\p{Lu}\p{N}_]*\]|%[sdif]\b|_{2,}|%\(\w+\)s"
    ),
    "names": regex.compile(r"(?<=[\p{Ll},;:]\s)\p{Lu}[\p{L}\p{M}'’-]*"),
}


def protected_spans(text: str, words: Sequence[str] = (), rules: Sequence[str] = RULES) -> tuple[Span, ...]:
    """Protected spans in order, overlapping ones merged; ``words`` match whole, in any letter case."""
    find = _cached_spans if len(text) <= _CACHED_LENGTH else _find_spans
    return find(text, tuple(words), tuple(rules))


def _find_spans(text: str, words: tuple[str, ...], rules: tuple[str, ...]) -> tuple[Span, ...]:
    found = [s for rule in rules for s in _spans_of(text, rule)]
    alternatives = "|".join(regex.escape(w) for w in sorted(words, key=len, reverse=True) if w.strip())
    if alternatives:
        pattern = rf"(?<![\p{{L}}\p{{M}}\p{{N}}])(?:{alternatives})(?![\p{{L}}\p{{M}}\p{{N}}])"
        found += [m.span() for m in regex.finditer(pattern, text, regex.IGNORECASE)]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return tuple(Span(text[a:b], a, b) for a, b in merged)


# Only short texts are cached, so that the cache stays small.
_CACHED_LENGTH = 2_000
_cached_spans = lru_cache(maxsize=16_384)(_find_spans)


def _spans_of(text: str, rule: str) -> Iterator[tuple[int, int]]:
    if rule == "number-words":
        yield from _listed(text, NUMBER_WORDS)
    elif rule == "units":
        yield from _listed(text, UNITS)
        yield from (m.span() for m in _PATTERNS["short-units"].finditer(text))
    elif rule == "comparatives":
        yield from _listed(text, COMPARATIVES)
    elif rule == "numerals":
        yield from (_trimmed(m) for m in _PATTERNS["numerals"].finditer(text))
    else:
        yield from (m.span() for m in _PATTERNS[rule].finditer(text))
        if rule == "latex":
            yield from _dollar_math(text)


def _listed(text: str, listed: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Words of a list; a hyphenated word counts if every part is in the list (``twenty-five``)."""
    for m in _PATTERNS["words"].finditer(text):
        if (
            all(part in listed or part == "and" for part in m.group().lower().split("-"))
            and m.group() != "and"
        ):
            yield m.span()


def _trimmed(match: regex.Match[str]) -> tuple[int, int]:
    body = match.group()
    return match.start() + len(body) - len(body.lstrip()), match.end() - len(body) + len(body.rstrip())


def _dollar_math(text: str) -> Iterator[tuple[int, int]]:
    """``$...$`` that is mathematics. A dollar sign before an amount followed by prose is not an opening."""
    at = 0
    while True:
        start = text.find("$", at)
        end = text.find("$", start + 1)
        if start < 0 or end < 0:
            return
        body = text[start + 1 : end]
        escaped = start > 0 and text[start - 1] == "\\"
        if escaped or not body.strip() or "\n\n" in body or ("\\" not in body and _MONEY.match(body)):
            at = start + 1
            continue
        yield start, end + 1
        at = end + 1


class Guard:
    """The protected spans of one text.

    Args:
        text: the unedited text.
        words: the task's protected words (label words, answer markers).
        rules: names from ``RULES`` and ``OPTIONAL_RULES``.
    """

    def __init__(self, text: str, words: Sequence[str] = (), rules: Sequence[str] = RULES) -> None:
        self.text, self.words, self.rules = text, tuple(words), tuple(rules)
        self.spans = protected_spans(text, self.words, self.rules)
        self._starts = [s.start for s in self.spans]

    def free(self, start: int, end: int) -> bool:
        """Whether ``[start, end)`` overlaps no protected span; an empty range must not lie inside one."""
        i = bisect_right(self._starts, start) - 1
        inside = i >= 0 and self.spans[i].end > start and (start < end or self.spans[i].start < start)
        return not inside and not any(s.start < end for s in self.spans[i + 1 : i + 2])

    def keeps(self, edited: str) -> bool:
        """Whether the edited text has exactly the protected texts of the original, in the same order."""
        after = protected_spans(edited, self.words, self.rules)
        return [s.text for s in after] == [s.text for s in self.spans]
