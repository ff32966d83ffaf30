r"""Numbers as people and models write them: finding them in a text, and their exact values.

Recognized are integers, decimals, thousands separators, leading currency signs and codes (``$18``,
``USD18``), a minus written as hyphen, minus sign or en dash, fractions ``a/b`` and mixed numbers ``3 1/2``,
exponents ``1.5e3``, and the words thousand, million, billion and trillion. A text that is one number may also
be LaTeX (``\frac{-4}{2}``, ``2^{10}``, ``\mathbf{18}``, ``1.5 \times 10^{3}``), and have a percent sign or a
unit after it (``18 cm``, ``18\text{ apples}``).

Values are exact rationals. All functions take time linear in the length of the text; a text of more than
:data:`LONGEST` characters is not read as a number.
"""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST = 256
"""Length of the longest text that is read as one number; ``int`` refuses thousands of digits."""

_SIGN = r"[-−–]"
_CURRENCY = r"(?:US\s?\$|USD|EUR|GBP|[$€£¥])"
_BODY = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}

NUMBER = re.compile(
    rf"(?<![\w.])(?P<sign>{_SIGN}?)(?:{_CURRENCY}\s?(?P<inner>{_SIGN}?))?(?P<body>{_BODY})"
    r"(?P<exponent>[eE][-+]?\d{1,3}(?!\w))?"
    r"(?:\s?/\s?(?P<denominator>\d+)|\s(?P<top>\d{1,3})/(?P<bottom>\d{1,3})(?!\w))?"
    rf"(?:\s(?P<scale>{'|'.join(_SCALES)})\b)?"
)
"""A number inside a text."""

_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|mathit|mathsf|boldsymbol|bm)\s*\{(.*)\}"
)
_TEXT_UNIT = re.compile(r"\\(?:text|mbox|textrm|mathrm)\s?\{(?P<unit>[^{}\d]*)\}(?:\^\{?\d\}?)?$")
_DEGREES = re.compile(r"\^\{?\\circ\}?")
_SPACED = re.compile(r"\s*(\\times|\\cdot|[-+/^×*{}])\s*")
_LATEX_FRACTION = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>\d+)?\\[dt]?frac(?:\{(?P<top>[-+]?\d+)\}|(?P<digit>\d))(?:\{(?P<bottom>[-+]?\d+)\}|(?P<last>\d+))"
)
_SHARE = re.compile(r"(?P<sign>[-+]?)(?P<top>\d+)/(?P<bottom>[-+]?\d+)")
_POWER = re.compile(r"(?P<sign>[-+]?)(?P<base>\d{1,6})\^(?:\{(?P<power>\d{1,2})\}|(?P<digit>\d))")
_TEN = re.compile(
    r"(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+))(?:\\times|\\cdot|×|\*)10\^\{?(?P<power>[-+]?\d{1,3})\}?"
)
_UNIT_WORD = re.compile(r"[A-Za-zµΩ°]+(?:\^\{?\d\}?|[²³])?(?:/[A-Za-z]+(?:\^\{?\d\}?|[²³])?)?\.?")
_LETTER_UNITS = frozenset("mgshlLJNWVAKCF")
_NOT_UNITS = frozenset(
    {"and", "or", "to", "plus", "minus", "times", "than", "if", "not", "but", "over", "by"}
)


def as_written(match: re.Match[str]) -> str:
    """The number of a :data:`NUMBER` match as plain text.

    A decimal or a fraction ``a/b`` is returned as written, without thousands separators and currency; other
    forms as their exact value, or as they stand if they have none (``3 1/0``, more than :data:`LONGEST`
    characters)."""
    sign = "-" if match["sign"] or match["inner"] else ""
    if match["exponent"] or match["top"] or match["scale"]:
        value = _value(match)
        return match[0] if value is None else str(value)
    number = sign + match["body"].replace(",", "")
    return f"{number}/{match['denominator']}" if match["denominator"] else number


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > LONGEST:
        return None
    value = Fraction(match["body"].replace(",", "") + (match["exponent"] or ""))
    if match["denominator"]:
        if int(match["denominator"]) == 0:
            return None
        value /= int(match["denominator"])
    elif match["top"]:
        if int(match["bottom"]) == 0:
            return None
        value += Fraction(int(match["top"]), int(match["bottom"]))
    value *= 10 ** _SCALES.get(match["scale"] or "", 0)
    return -value if match["sign"] or match["inner"] else value


def as_number(text: str) -> Fraction | None:
    """The exact value of a text that is one number, in plain or LaTeX form, with or without a unit; else
    ``None``.

    Per cent signs and units do not change the value: ``50%`` is 50.
    """
    body = text.strip()
    if len(body) > LONGEST:
        return None
    body = _bare(body)
    plain = NUMBER.match(body.removeprefix("+"))
    if plain is not None and is_unit(body.removeprefix("+")[plain.end() :]):
        return _value(plain)
    return _latex_value(_SPACED.sub(r"\1", body))


def _bare(body: str) -> str:
    """The text without parts that do not change the value: emphasis, dollar signs, wrappers, spacing
    commands, degrees, percent signs, a final full stop, space around a sign."""
    while (wrapped := _WRAPPED.fullmatch(body)) and _balanced(wrapped[1]):
        body = wrapped[1].strip()
    body = body.strip("*").strip().removeprefix("$").removesuffix("$").strip()
    body = (
        _DEGREES.sub("", body).replace("\\!", "").replace("\\,", "").replace("\\ ", " ").replace("{,}", ",")
    )
    body = body.replace("\\$", "$").replace("−", "-").replace("–", "-").rstrip(" .")
    unit = _TEXT_UNIT.search(body)
    body = body[: unit.start()].strip() if unit else body
    body = body.removesuffix("\\%").removesuffix("%").strip()
    return re.sub(r"^([-+]) (?=[\d.$])", r"\1", re.sub(r"(?<=\d) ?/ ?(?=\d)", "/", body))


def is_unit(rest: str) -> bool:
    """Whether the text after a number is empty or a unit of at most four words; ``and 3 pears`` is not.

    A single letter counts only after a space and if it abbreviates a unit: ``18x`` is a product."""
    words = rest.split()
    if not words:
        return True
    if len(words) > 4 or not all(_UNIT_WORD.fullmatch(w) for w in words):
        return False
    if any(w.lower().strip(".") in _NOT_UNITS for w in words):
        return False
    single = [w for w in words if len(w) == 1]
    return all(w in _LETTER_UNITS for w in single) and (rest[0].isspace() or len(words[0]) > 1)


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0


def _latex_value(body: str) -> Fraction | None:
    sign = -1 if body.startswith("-") else 1
    if found := _LATEX_FRACTION.fullmatch(body):
        top, bottom = int(found["top"] or found["digit"]), int(found["bottom"] or found["last"])
        return None if bottom == 0 else sign * (int(found["whole"] or 0) + Fraction(top, bottom))
    if found := _SHARE.fullmatch(body):
        bottom = int(found["bottom"])
        return None if bottom == 0 else sign * Fraction(int(found["top"]), bottom)
    if found := _POWER.fullmatch(body):
        return Fraction(sign * int(found["base"]) ** int(found["power"] or found["digit"]))
    if found := _TEN.fullmatch(body):
        return Fraction(found["number"].rstrip(".")) * Fraction(10) ** int(found["power"])
    return Fraction(body.rstrip(".")) if re.fullmatch(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)", body) else None
