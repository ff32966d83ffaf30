"""The log of an unfinished run: one line per step, appended by one write call each.

Every line ends with the SHA-256 of the line before it and its own row, so that a changed, lost or doubled
line is noticed, and one digest in a checkpoint stands for all lines up to it. A torn last line is what a kill
leaves: it is dropped. Lines from before digests were recorded have none and are read without this check.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zobench.store import files
from zobench.store.digests import DIGEST, DamagedFile, digest_of

STEPS_LOG = "steps.jsonl"
_ENDING = re.compile(rb',"' + DIGEST.encode() + rb'":"([0-9a-f]{64})"\}\Z')
_NEARLY = re.compile(rb'[0-9a-f]{64}"\}\Z')
"""The end of a line whose digest has lost its key."""


class StepLog:
    """Appends to the log of one run; ``digest`` is that of the last line."""

    def __init__(self, path: Path) -> None:
        self.path, self.digest = path, ""
        self._fd: int | None = None

    def open(self, *, keep_steps: int, digest: str | None = None) -> bool:
        """Open for appending after the first ``keep_steps`` lines; the rest is cut off.

        Returns False, with nothing opened or cut, where these lines are not there, are damaged, or are others
        than those that ``digest`` stands for.
        """
        end, last, found = 0, "", 0
        try:
            with self.path.open("rb") as stream:
                while found < keep_steps and (line := stream.readline()).endswith(b"\n"):
                    _, last = _checked(line[:-1], last)
                    end += len(line)
                    found += 1
        except FileNotFoundError:
            if keep_steps:
                return False
        except ValueError:
            return False
        if found < keep_steps or (digest is not None and digest != last):
            return False
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._fd, end)
        self.digest = last
        return True

    def append(self, row: Mapping[str, Any]) -> None:
        """One step, one line, one write call: it is in the operating system's hands when this returns."""
        assert self._fd is not None, "open first"
        text = json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()
        digest = _chained(self.digest, text)
        files.write_all(self._fd, text[:-1] + f',"{DIGEST}":"{digest}"}}\n'.encode())
        self.digest = digest

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


def read_steps_log(folder: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of an unfinished run's step log; a torn last line is dropped, a broken or changed one before it is
    a ``DamagedFile``."""
    rows, problem = readable_steps(folder, limit)
    if problem is not None:
        raise problem
    return rows


def readable_steps(folder: Path, limit: int | None = None) -> tuple[list[dict[str, Any]], DamagedFile | None]:
    """Rows up to the first damaged line, and what is wrong with that."""
    return readable_lines(folder / STEPS_LOG, limit)


def readable_lines(path: Path, limit: int | None = None) -> tuple[list[dict[str, Any]], DamagedFile | None]:
    """The same of any log of this form."""
    last = ""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], None
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1][:limit], start=1):
        try:
            row, last = _checked(line, last)
        except ValueError as error:
            return rows, DamagedFile(path, f"line {number} is not the step that was written ({error})")
        rows.append(row)
    return rows, None


def holds_step(folder: Path, digest: str) -> bool:
    """Whether the log has the line of this digest."""
    try:
        return f'"{DIGEST}":"{digest}"}}\n'.encode() in (folder / STEPS_LOG).read_bytes()
    except FileNotFoundError:
        return False


def _checked(line: bytes, before: str) -> tuple[dict[str, Any], str]:
    """Row and digest of a line after one with the digest ``before``; ``ValueError`` if it is another."""
    row = json.loads(line.decode())
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    ending = _ENDING.search(line)
    if ending is None:
        if before or DIGEST in row or _NEARLY.search(line):
            raise ValueError("no digest")
        return row, ""
    digest = ending[1].decode()
    if digest != _chained(before, line[: ending.start()] + b"}"):
        raise ValueError("another digest")
    del row[DIGEST]
    return row, digest


def _chained(before: str, text: bytes) -> str:
    return digest_of(before.encode() + text)
