"""Answer extractors: from a generated text to its final answer. They have names and versions.

The rules of the lm-evaluation harness (0.4.13) are reproduced with their edge cases, so that its numbers can
be reproduced. ``robust`` is zobench's default; results of a strict extractor are always shown beside it. An
extractor returns ``None`` if it finds no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from zobench.names import nearest
from zobench.tasks.numerals import NUMBER, as_number, as_written


@dataclass(frozen=True, slots=True)
class Extractor:
    """One rule. ``version`` changes whenever the answer extracted from any text changes."""

    name: str
    version: int
    extract: Callable[[str], str | None]

    def __call__(self, text: str) -> str | None:
        return self.extract(text)

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


def _regex(pattern: str, *, last: bool = False) -> Callable[[str], str | None]:
    """Extractor of the first (or last) match without surrounding white space; of several groups, the first
    that is not empty."""
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
    r"""Content of the last ``\boxed{...}`` or ``\fbox{...}`` with balanced braces, or of ``\boxed x`` up to
    a ``$``; an empty box gives an empty text."""
    return next(_boxes(text), None)


_BOX = re.compile(r"\\(?:boxed|fbox)")


def _boxes(text: str) -> Iterator[str | None]:
    """Contents of the boxes, last first; ``None`` for one that is not closed. Linear in the text's length."""
    closing, limit = _closing_braces(text), len(text)
    for box in reversed(list(_BOX.finditer(text))):
        opening = text.find("{", box.end(), limit)
        if text[box.end() : box.end() + 1] == " " and (opening < 0 or text[box.end() : opening].strip()):
            dollar = text.find("$", box.end())
            yield text[box.end() : dollar if dollar >= 0 else None].strip() or None
        elif opening in closing:
            yield text[opening + 1 : closing[opening]].strip()
        else:
            yield None
        limit = box.start()


def _closing_braces(text: str) -> dict[int, int]:
    """Position of the closing brace for every opening brace that is closed."""
    closing: dict[int, int] = {}
    open_braces: list[int] = []
    for match in re.finditer(r"[{}]", text):
        if match[0] == "{":
            open_braces.append(match.start())
        elif open_braces:
            closing[open_braces.pop()] = match.start()
    return closing


def between_dollars(text: str) -> str | None:
    """The text between the first and the last dollar sign; the whole text if it has at most one."""
    first, last = text.find("$"), text.rfind("$")
    return text if first == last else text[first + 1 : last]


_MINERVA_OPENING = "Final Answer: The final answer is"
_MINERVA_CLOSING = re.compile(r". I hope it is correct.")


def minerva(text: str) -> str | None:
    """The answer in the sentence "Final Answer: The final answer is ... I hope it is correct."

    As in the harness, the closing words are appended first, because a stop string may have removed them. Only
    the first opening of each line is tried: if it is not closed, later ones are not either.
    """
    for line in (text + "I hope it is correct.").split("\n"):
        opening = line.find(_MINERVA_OPENING)
        if opening < 0:
            continue
        start = opening + len(_MINERVA_OPENING)
        closing = _MINERVA_CLOSING.search(line, start)
        if closing is not None:
            return line[start : closing.start()].strip()
    return None


_PHRASE = re.compile(r"(?:answer[*_]{0,3}\s{0,9}(?:is|:|=)|####)[\s:*_]{0,9}(?P<rest>[^\n]*)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!]\s+(?=[A-Z*(\"'])")
_EQUALS = re.compile(r"(?<![<>!:])=(?!=)")
_FORMULA = re.compile(r"\$([^$]*(?:\\|[\^_]|[A-Za-z]\s?[-+*/=])[^$]*)\$")
_ARITHMETIC = re.compile(r"[-+]?[\d.,]+(?:\s?[-+*/×]\s?[\d.,]*\d)+\.?")


def last_number(text: str) -> str | None:
    """The last number in the text (:data:`~zobench.tasks.numerals.NUMBER`), thousands separators removed."""
    found = list(NUMBER.finditer(text))
    return as_written(found[-1]) if found else None


def robust(text: str) -> str | None:
    r"""The last ``\boxed{}`` that is not empty, else the answer of the last "answer is" phrase, else the last
    number.

    The answer of a phrase is taken from its first sentence: a formula between dollar signs, else the number
    after the last ``=`` that is followed by exactly one number ("5 + 3 = 8" gives 8), else its first number.
    A phrase without a number gives its text (for symbolic answers).
    """
    inside = next((box for box in _boxes(text) if box), None)
    if inside is not None:
        return inside
    for phrase in reversed(list(_PHRASE.finditer(text))):
        named = _named(phrase["rest"])
        if named:
            return named
    return last_number(text)


def _named(rest: str) -> str | None:
    """The answer in the rest of a phrase; ``None`` if there is none."""
    sentence = _SENTENCE_END.split(rest, maxsplit=1)[0]
    if NUMBER.search(sentence) is None and NUMBER.search(rest) is not None:
        sentence = rest
    formula = _FORMULA.search(sentence)
    if formula is not None:
        return formula[1].strip()
    sides = _EQUALS.split(sentence)
    for side in reversed(sides) if len(sides) > 1 else ():
        numbers = list(NUMBER.finditer(side))
        if len(numbers) == 1:
            return as_written(numbers[0])
    if _ARITHMETIC.fullmatch(sentence.strip()) and as_number(sentence) is None:
        return sentence.strip().rstrip(".")
    number = NUMBER.search(sides[-1]) or NUMBER.search(sentence)
    if number is not None:
        return as_written(number)
    return sentence.strip(" .*_$") or None


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
        Extractor("last-number", 3, last_number),
        Extractor("robust", 3, robust),
    )
}


def extractor(name: str) -> Extractor:
    """The extractor of this name, or ``ValueError`` with the nearest valid one."""
    if name not in EXTRACTORS:
        raise ValueError(f"unknown answer extractor {name!r}{nearest(name, EXTRACTORS)}")
    return EXTRACTORS[name]
