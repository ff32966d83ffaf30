"""Names from user input: suggestions for misspelt names, and safe display of untrusted text."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any


def printable(value: object, *, lines: bool = False) -> str:
    """Text without control, escape and direction characters, which a terminal would interpret. ``lines``:
    keep line ends and tabs."""
    text, kept = str(value), "\n\t" if lines else ""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else "\N{REPLACEMENT CHARACTER}" for c in text)


def json_value(text: str) -> Any:
    """The value of a JSON text from somebody else. Text that the parser refuses for another reason than its
    grammar (nested too deeply, numbers of thousands of digits) is a ``JSONDecodeError`` as well."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        raise json.JSONDecodeError(f"cannot be read ({str(error)[:80]})", text[:80], 0) from error


def nearest(name: str, valid: Iterable[str]) -> str:
    """``"; did you mean 'a' or 'b'?"``, or the list of valid names if none is similar."""
    names = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "; valid: " + ", ".join(names) if names else ""


def suggestion(name: str, valid: Iterable[str]) -> str:
    """Hint for an unknown name: the most similar valid names, or all of them."""
    return nearest(str(name), [str(v) for v in valid]).removeprefix("; ")
