"""ROUGE-L between two texts, from ``rouge_score``: recall (TOFU) and F1 (MUSE).

    recall = LCS(reference, answer) / |reference|,  precision = LCS / |answer|,  F1 their harmonic mean

over lower-cased alphanumeric words, those longer than three letters Porter-stemmed.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import Score


@functools.cache
def _scorer() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(reference: str, answer: str) -> Score:
    """``precision``, ``recall`` and ``fmeasure`` of ``answer``; all zero if either text has no words."""
    return _scorer().score(reference, answer)["rougeL"]


def halved(text: str) -> tuple[str, str]:
    """The first half of the words (rounded up, at least one) and the rest, which may be empty.

    VerbMem prompts with the first and expects the second."""
    found = text.split()
    cut = max(1, (len(found) + 1) // 2)
    return " ".join(found[:cut]), " ".join(found[cut:])


def states(answer: str, fact: str) -> bool:
    """Whether the answer contains the words of the fact consecutively, for open questions without a judge.

    Letter case and punctuation are ignored. False for a fact without words."""
    given, wanted = (re.sub(r"[^\w]+", " ", t.lower()).split() for t in (answer, fact))
    size = len(wanted)
    return size > 0 and any(given[i : i + size] == wanted for i in range(len(given) - size + 1))
