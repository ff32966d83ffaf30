"""Rules that determine whether a generated text is correct, for tasks on a user's own data.

* ``number``: the answer extracted from the text (:func:`~zobench.tasks.extraction.robust`) equals the gold
  number, compared as exact rationals: 18 = 18.0 = 36/2.
* ``exact``: the text equals the gold text; leading and trailing white space is removed, and other white space
  counts as a single space.
* ``contains``: the gold text occurs in the text, in any case.
* ``regex``: the gold text is a regular expression that is found in the text.
* ``math``: as ``number``; equivalent formulas match as well (:func:`~zobench.tasks.equivalence.equivalent`).
* ``rouge``: ROUGE-L F1 between text and gold text is at least ``rouge_threshold``.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import regex

from zobench.tasks.equivalence import equivalent
from zobench.tasks.extraction import robust
from zobench.tasks.numerals import as_number

MatchRule = Literal["number", "exact", "contains", "regex", "math", "rouge"]
_SECONDS = 1.0


def answer_of(text: str, match: MatchRule) -> str:
    """The part of a generated text that is compared; empty if no answer is found."""
    if match in ("number", "math"):
        return robust(text) or ""
    return " ".join(text.split())


def is_right(text: str, gold: str, match: MatchRule, *, rouge_threshold: float) -> bool:
    """Whether the generated text is correct by this rule; the module's docstring defines the rules."""
    answer = answer_of(text, match)
    if match == "number":
        found, wanted = as_number(answer), as_number(gold)
        return found is not None and found == wanted
    if match == "math":
        return equivalent(answer or None, gold)
    if match == "exact":
        return answer == " ".join(gold.split())
    if match == "contains":
        return " ".join(gold.split()).casefold() in answer.casefold()
    if match == "regex":
        return _found(gold, text)
    return rouge_l(text, gold) >= rouge_threshold


def rouge_l(text: str, gold: str) -> float:
    """ROUGE-L F1 of two texts, between 0 and 1 (package ``rouge_score``, without stemming)."""
    return float(_scorer().score(gold, text)["rougeL"].fmeasure)


def gold_problem(gold: str, match: MatchRule) -> str | None:
    """The reason why a gold answer cannot be used with this rule; ``None`` if it can."""
    if not gold.strip():
        return "the answer is empty"
    if match == "number" and as_number(gold) is None:
        return f"the answer {gold!r} is not a number"
    if match == "regex":
        found = pattern_problem(gold)
        return found and f"the answer {gold!r} is not a regular expression: {found}"
    return None


def pattern_problem(pattern: str) -> str | None:
    """The reason why ``pattern`` is no regular expression; ``None`` if it is one."""
    try:
        regex.compile(pattern)
    # The package reads counts by int(), which refuses more than 4,300 digits, and descends into groups.
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        return str(error)
    return None


def _found(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=_SECONDS) is not None
    except TimeoutError:  # catastrophic backtracking counts as not found
        return False


@functools.lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"])
