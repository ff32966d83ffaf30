"""Problems of a suite file, reported together: file, line, key, message, hint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zobench.strict_yaml import KeyPath

_LONGEST_KEY = 80


def dotted(path: KeyPath) -> str:
    """``methods.mezo.sweep.lr[2]``; the empty path is the file itself."""
    text = ""
    for part in path:
        if isinstance(part, str) and len(part) > _LONGEST_KEY:
            part = part[:_LONGEST_KEY] + "..."
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """A line of a file, counted from 1; 0 for values that are in no file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. ``hint``: what to write instead; empty if there is no suggestion. ``line``: as in
    :class:`SourcePlace`."""

    file: str
    line: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place, key = SourcePlace(self.file, self.line), f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.message}" + (f"; {self.hint}" if self.hint else "")


class SuiteError(ValueError):
    """All problems of a suite in the order of their lines; ``problems`` is the list."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems, "a SuiteError names at least one problem"
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.key, p.message)))
        super().__init__("\n".join(str(p) for p in self.problems))
