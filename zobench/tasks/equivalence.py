"""When two answers are the same: by string as the lm-evaluation harness compares, by number, or by symbols.

``equivalent(answer, gold)`` tries, in this order: both numbers (exact rational comparison), a plain number as
gold against anything else (different: a symbolic engine is not asked to be generous to integers), equal
normalized text, and math-verify where it is installed. It is not symmetric, as math-verify is not: the gold
comes second here.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from fractions import Fraction

_INTEGER = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+)")
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
_SPACED_SIGN = re.compile(r"\s*([-+/])\s*")
_SLASH = re.compile(r"([-+]?\d+)/([-+]?\d+)")
_LATEX_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\{?(\d+)\}?\{?(\d+)\}?")
_UNITS = re.compile(r"\\(?:text|mbox|textrm|mathrm)\s*\{[^{}]*\}(?:\^\{?\d\}?)?\s*$")
_DEGREES = re.compile(r"\^\{?\\circ\}?")


def harness_normal(text: str) -> str:
    """What the harness compares for GSM8K: commas, dollars, everything up to the last ``#### `` and one
    trailing full stop removed, lower case."""
    without = text.replace(",", "").replace("$", "")
    after = without.rpartition("#### ")[2]
    return after.removesuffix(".").lower()


def harness_exact(answer: str | None, gold: str) -> bool:
    """String equality after :func:`harness_normal`; 18.00 is not 18 here."""
    return answer is not None and harness_normal(answer) == harness_normal(gold)


def as_number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal, percentage or fraction, in plain or LaTeX form; else
    ``None``."""
    body = text.strip().strip("$").strip("*").strip()
    body = _DEGREES.sub("", _UNITS.sub("", body)).replace("\\!", "").replace("\\,", "").replace("−", "-")
    body = body.replace("\\$", "").replace("$", "").replace("{,}", ",").strip().rstrip(".")
    body = _SPACED_SIGN.sub(r"\1", body.removesuffix("\\%").removesuffix("%").strip())
    if _GROUPED.fullmatch(body):
        body = body.replace(",", "")
    if _INTEGER.fullmatch(body) or _DECIMAL.fullmatch(body):
        return Fraction(body if not body.endswith(".") else body[:-1])
    fraction = _LATEX_FRACTION.fullmatch(body)
    top, bottom = (fraction[1] + fraction[2], fraction[3]) if fraction else ("", "")
    slash = _SLASH.fullmatch(body)
    if slash:
        top, bottom = slash[1], slash[2]
    return Fraction(int(top), int(bottom)) if top and int(bottom) != 0 else None


def equivalent(answer: str | None, gold: str) -> bool:
    """Whether ``answer`` is the gold answer; see the module's text for the order of rules."""
    if answer is None:
        return False
    found, wanted = as_number(answer), as_number(gold)
    if found is not None and wanted is not None:
        return found == wanted
    if latex_normal(answer) == latex_normal(gold):
        return True
    if wanted is not None and wanted.denominator == 1:
        return False
    return importlib.util.find_spec("math_verify") is not None and _symbolically(answer, gold)


def _symbolically(answer: str, gold: str) -> bool:
    """math-verify's verdict. Its time limits use signals, which only the main thread can take."""
    import math_verify

    limit = 5 if threading.current_thread() is threading.main_thread() else None
    parsed = [math_verify.parse(f"${t}$", parsing_timeout=limit) for t in (gold, answer)]
    return bool(math_verify.verify(parsed[0], parsed[1], timeout_seconds=limit))


def latex_normal(text: str) -> str:
    r"""A LaTeX answer without what does not change it: spacing, ``\left \right``, degrees, units on the
    right, per cent and dollar signs, ``k =`` in front, fraction and root shorthands; 0.5 becomes 1/2."""
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
