"""Equality of answers: by string as in the lm-evaluation harness, by number, or symbolically.

``equivalent(answer, gold)`` tries, in this order: both as numbers (exact rational comparison), equal
normalized text, the part after the answer's last ``=``, and math-verify in both directions if it is
installed. It is stricter than math-verify (0.9), which accepts p for P, (1, 2) for {1, 2} and, as plain text,
"7 apples and 3 pears" for 3, and which is not symmetric. Here letters must agree in case, brackets in kind,
and words or a list of numbers are not compared with one number.
"""

from __future__ import annotations

import importlib.util
import re
import threading

from zobench.tasks.numerals import LONGEST, as_number

_SLASH = re.compile(r"([-+]?\d+)/([-+]?\d+)")
_DEGREES = re.compile(r"\^\{?\\circ\}?")
_EQUALS = re.compile(r"(?<![<>!:])=(?!=)")
_SEVERAL = re.compile(r"[,;]|\b(?:and|or)\b")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_FUNCTIONS = frozenset({"sin", "cos", "tan", "log", "ln", "exp", "sqrt", "pi", "frac", "max", "min"})


def harness_normal(text: str) -> str:
    """The harness's normalization for GSM8K: commas, dollar signs, the text up to the last ``#### `` and one
    trailing full stop are removed, and letters become lower case."""
    without = text.replace(",", "").replace("$", "")
    after = without.rpartition("#### ")[2]
    return after.removesuffix(".").lower()


def harness_exact(answer: str | None, gold: str) -> bool:
    """String equality after :func:`harness_normal`: 18.00 does not equal 18."""
    return answer is not None and harness_normal(answer) == harness_normal(gold)


def equivalent(answer: str | None, gold: str) -> bool:
    """Whether ``answer`` equals the gold answer; the module docstring gives the order of rules."""
    if answer is None:
        return False
    found, wanted = as_number(answer), as_number(gold)
    if found is not None and wanted is not None:
        return found == wanted
    if latex_normal(answer) == latex_normal(gold):
        return True
    sides = _EQUALS.split(answer)
    if len(sides) > 1 and not _EQUALS.search(gold) and not _SEVERAL.search(answer):
        return equivalent(sides[-1].replace("}", "", _unclosed(sides[-1])), gold)
    if wanted is not None and (_SEVERAL.search(answer) or _worded(answer)):
        return False
    brackets = {_brackets(text) for text in (answer, gold)} - {""}
    if len(brackets) > 1 or not _same_case(answer, gold):
        return False
    if max(len(answer), len(gold)) > LONGEST or importlib.util.find_spec("math_verify") is None:
        return False
    return _symbolically(answer, gold) and _symbolically(gold, answer)


def _unclosed(side: str) -> int:
    """Number of closing braces without an opening one, as a wrapper around ``x = ...`` leaves them after the
    ``=``."""
    return max(side.count("}") - side.count("{"), 0)


def _worded(text: str) -> bool:
    """Whether the text contains a word that is not a function name: prose is not compared with a number."""
    return any(word not in _FUNCTIONS for word in _WORD.findall(_COMMAND.sub(" ", text)))


def _same_case(left: str, right: str) -> bool:
    """Whether letters that occur in both texts agree in case; LaTeX commands are ignored."""
    letters = [set(filter(str.isalpha, _COMMAND.sub(" ", text))) for text in (left, right)]
    lowered = [{letter.lower() for letter in found} for found in letters]
    return lowered[0] != lowered[1] or letters[0] == letters[1]


def _brackets(text: str) -> str:
    """Outermost brackets of a list (a text with a comma); else empty."""
    body = (
        text.strip()
        .strip("$")
        .replace("\\left", "")
        .replace("\\right", "")
        .replace("\\{", "{")
        .replace("\\}", "}")
    )
    body = body.strip()
    enclosed = body[:1] in tuple("([{") and body[-1:] in tuple(")]}")
    return body[0] + body[-1] if enclosed and "," in body else ""


def _symbolically(answer: str, gold: str) -> bool:
    """math-verify's result. Its time limits use signals, which only the main thread can receive."""
    import math_verify

    limit = 5 if threading.current_thread() is threading.main_thread() else None
    parsed = [math_verify.parse(f"${t}$", parsing_timeout=limit) for t in (gold, answer)]
    return bool(math_verify.verify(parsed[0], parsed[1], timeout_seconds=limit))


def latex_normal(text: str) -> str:
    r"""A LaTeX answer in normal form.

    Spacing, ``\left \right``, degrees, units on the right, percent and dollar signs and a leading ``k =`` are
    removed; fraction and root shorthands are written out; 0.5 becomes 1/2."""
    out = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    out = out.replace("tfrac", "frac").replace("dfrac", "frac").replace("\\left", "").replace("\\right", "")
    out = _DEGREES.sub("", out).replace("\\$", "").split("\\text{ ")[0].replace("\\%", "")
    head, equals, tail = out.partition("=")
    if equals and "=" not in tail and len(head) <= 2:
        out = tail
    out = out.replace(" ", "").strip("$").rstrip(".")
    out = re.sub(r"(?<![\d])\.(?=\d)", "0.", out)
    out = re.sub(r"\\sqrt(?![\[{])(\w)", r"\\sqrt{\1}", out)
    out = re.sub(
        r"\\frac(\d)(\d|\{)", lambda m: f"\\frac{{{m[1]}}}" + (m[2] if m[2] == "{" else f"{{{m[2]}}}"), out
    )
    if out == "0.5":
        return "\\frac{1}{2}"
    slash = _SLASH.fullmatch(out)
    return f"\\frac{{{slash[1]}}}{{{slash[2]}}}" if slash else out
