"""ROUGE-L between two texts: recall (TOFU) and F1 (MUSE).

    recall = LCS(reference, answer) / |reference|,  precision = LCS / |answer|,  F1 their harmonic mean

over lower-cased alphanumeric words, those longer than three letters Porter-stemmed: the conventions of the
package ``rouge_score``, whose numbers the tests compare with.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Overlap:
    precision: float
    recall: float
    f1: float


@functools.cache
def _stemmer():  # type: ignore[no-untyped-def]
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


def stems(text: str) -> list[str]:
    """The words that are compared."""
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
    return [_stemmer().stem(w) if len(w) > 3 else w for w in words]


def longest_common_subsequence(a: list[str], b: list[str]) -> int:
    """Its length; O(|a| |b|) time, O(|b|) memory."""
    row = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b):
            above = row[j + 1]
            row[j + 1] = corner + 1 if x == y else max(above, row[j])
            corner = above
    return row[-1]


def rouge_l(reference: str, answer: str) -> Overlap:
    """ROUGE-L of ``answer`` against ``reference``; all zeros where either has no words."""
    gold, given = stems(reference), stems(answer)
    if not gold or not given:
        return Overlap(0.0, 0.0, 0.0)
    common = longest_common_subsequence(gold, given)
    precision, recall = common / len(given), common / len(gold)
    total = precision + recall
    return Overlap(precision, recall, 2 * precision * recall / total if total else 0.0)


def halved(text: str) -> tuple[str, str]:
    """The first half of the words (the larger where they are odd, at least one) and the rest, which may be
    empty: what VerbMem prompts with and what it expects."""
    found = text.split()
    cut = max(1, (len(found) + 1) // 2)
    return " ".join(found[:cut]), " ".join(found[cut:])


def states(answer: str, fact: str) -> bool:
    """Whether the answer has the words of the fact one after the other: open questions without a judge.
    Letter case and punctuation do not matter; a fact without words is stated by nothing."""
    given, wanted = (re.sub(r"[^\w]+", " ", t.lower()).split() for t in (answer, fact))
    size = len(wanted)
    return size > 0 and any(given[i : i + size] == wanted for i in range(len(given) - size + 1))
