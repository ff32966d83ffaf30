"""Word lists and word-level tests that need no data files: stop words, readable words, spelling variants."""

from __future__ import annotations

from functools import lru_cache

import regex

_STOP = (
    "a about above after again against all am an and any are as at be because been before being below "
    "between both but by can could did do does doing don down during each few for from further had has "
    "have having he her here hers herself him himself his how i if in into is it its itself just may me "
    "might more most must my myself no nor not now of off on once only or other our ours ourselves out "
    "over own same shall she should so some such than that the their theirs them themselves then there "
    "these they this those through to too under until up very was we were what when where which while who "
    "whom why will with would you your yours yourself yourselves n't 's 're 've 'll 'd 'm cannot "
)
STOP_WORDS = frozenset(_STOP.split())
_READABLE = regex.compile(r"\p{Latin}[\p{Latin}\p{Mn}]*(?:['’-][\p{Latin}\p{Mn}]+)*")


def is_stop_word(word: str) -> bool:
    """Whether the word, or the part before its apostrophe, is a stop word."""
    low = word.lower().replace("’", "'")
    return low in STOP_WORDS or low.partition("'")[0] in STOP_WORDS


def readable(candidate: str) -> bool:
    """Character-level filter: one word of Latin letters, without control characters or punctuation."""
    return _READABLE.fullmatch(candidate) is not None


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Porter stem."""
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer().stem(word.lower())


@lru_cache(maxsize=50_000)
def same_family(word: str, candidate: str) -> bool:
    """Morphological filter of MSCR: the candidate contains the word's stem or is a small spelling variant.

    The paper does not define "small"; here: at most two edits and at most a third of the word's letters.
    """
    from nltk.metrics.distance import edit_distance

    a, b = word.lower(), candidate.lower()
    if stem(a) in b:
        return True
    return abs(len(a) - len(b)) <= 2 and edit_distance(a, b) <= min(2, len(a) // 3)
