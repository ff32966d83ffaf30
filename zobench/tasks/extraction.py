"""Answer extractors: from a generated text to the final answer it gives. Named and versioned.

The rules of the lm-evaluation harness (0.4.13) are here as they behave, their edge cases included, so that
its numbers can be reproduced; ``robust`` is zobench's default, and ``strict`` results are always shown beside
it. An extractor returns ``None`` where it finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zobench.names import nearest


@dataclass(frozen=True, slots=True)
class Extractor:
    """One rule. ``version`` changes whenever any text would be read differently."""

    name: str
    version: int
    extract: Callable[[str], str | None]

    def __call__(self, text: str) -> str | None:
        return self.extract(text)

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


def _regex(pattern: str, *, last: bool = False) -> Callable[[str], str | None]:
    """First (or last) match; of several groups the first that is not empty; surrounding white
    space removed."""
    compiled = re.compile(pattern)

    def extract(text: str) -> str | None:
        found = compiled.findall(text)
        if not found:
            return None
        match = found[-1 if last else 0]
        if isinstance(match, tuple):
            match = next((part for part in match if part), None)
        return None if match is None else match.strip()

    return extract


def boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{...}`` or ``\fbox{...}`` with balanced braces, or of ``\boxed
    x`` up to a ``$``."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    opening = text.find("{", start)
    word_end = start + len("\\boxed" if text.startswith("\\boxed", start) else "\\fbox")
    if text[word_end : word_end + 1] == " " and (opening < 0 or text[word_end:opening].strip()):
        return text[word_end:].split("$")[0].strip() or None
    if opening < 0:
        return None
    depth = 0
    for place in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[opening + 1 : place].strip()
    return None


def between_dollars(text: str) -> str | None:
    """Between the first and the last dollar sign; the whole text if it has at most one."""
    first, last = text.find("$"), text.rfind("$")
    return text if first == last else text[first + 1 : last]


_MINERVA = re.compile(r"Final Answer: The final answer is(.*?). I hope it is correct.")


def minerva(text: str) -> str | None:
    """What stands in the sentence "Final Answer: The final answer is ... I hope it is correct."

    As the harness does, the closing words are appended first: a stop string may have cut them off.
    """
    match = _MINERVA.search(text + "I hope it is correct.")
    return match[1].strip() if match else None


_NUMBER_TOKEN = re.compile(
    r"(?<![\w.])(?P<sign>[-−]?)\$?\s?(?P<body>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:\s?/\s?(?P<denominator>\d+))?"
)
_PHRASE = re.compile(
    r"(?:final\s+answer\s*(?:is|:|=)|answer\s*(?:is|:|=)|####)\s*:?\s*(?P<rest>[^\n]*)", re.IGNORECASE
)


def last_number(text: str) -> str | None:
    """The last number in the text, thousands separators removed: integer, decimal, or fraction ``a/b``."""
    found = list(_NUMBER_TOKEN.finditer(text))
    return _plain(found[-1]) if found else None


def _plain(match: re.Match[str]) -> str:
    sign = "-" if match["sign"] else ""
    number = sign + match["body"].replace(",", "")
    return f"{number}/{match['denominator']}" if match["denominator"] else number


def robust(text: str) -> str | None:
    r"""The last ``\boxed{}``, else what the last "final answer" phrase names, else the last number.

    Of a phrase, the first number on its line counts; a phrase without one gives its text (for symbolic
    answers).
    """
    inside = boxed(text)
    if inside is not None:
        return inside
    phrases = list(_PHRASE.finditer(text))
    for phrase in reversed(phrases):
        number = _NUMBER_TOKEN.search(phrase["rest"])
        if number is not None:
            return _plain(number)
        words = phrase["rest"].strip(" .*_$")
        if words:
            return words
    return last_number(text)


_FLEXIBLE = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"

EXTRACTORS: Mapping[str, Extractor] = {
    e.name: e
    for e in (
        Extractor("gsm8k-strict", 1, _regex(r"#### (\-?[0-9\.\,]+)")),
        Extractor("gsm8k-flexible", 1, _regex(_FLEXIBLE, last=True)),
        Extractor("gsm8k-cot-strict", 1, _regex(r"The answer is (\-?[0-9\.\,]+).")),
        Extractor(
            "gsm8k-cot-llama", 1, _regex(r"The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))", last=True)
        ),
        Extractor("gsm8k-cot-self-consistency", 1, _regex(r"The answer is (\-?[0-9\.\,]*[0-9]+)")),
        Extractor("minerva", 1, minerva),
        Extractor("hendrycks-math", 1, between_dollars),
        Extractor("boxed", 1, boxed),
        Extractor("last-number", 1, last_number),
        Extractor("robust", 1, robust),
    )
}


def extractor(name: str) -> Extractor:
    """The extractor of this name, or ``ValueError`` with the nearest valid one."""
    if name not in EXTRACTORS:
        raise ValueError(f"unknown answer extractor {name!r}{nearest(name, EXTRACTORS)}")
    return EXTRACTORS[name]
