"""The log of an unfinished run: one line per step, each appended by one write call.

Every line ends with the SHA-256 of the previous line's digest and its own record. A changed, lost or repeated
line is therefore detected, and one digest in a checkpoint identifies all lines up to it. An incomplete last
line, which remains after a kill, is dropped. Lines written before digests were recorded are read without this
check.
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
"""The end of a line whose digest is there but has a damaged key."""


class StepLog:
    """Appends to the log of one run; ``digest`` is the digest of the last line."""

    def __init__(self, path: Path) -> None:
        self.path, self.digest = path, ""
        self._fd: int | None = None

    def open(self, *, keep_steps: int, digest: str | None = None) -> bool:
        """Open for appending after the first ``keep_steps`` lines and delete all later lines.

        Returns False, and neither opens nor changes the file, if these lines are missing or damaged, or if
        the digest of the last one is not ``digest``.
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
        """Append one step as one line with one write call. The operating system has the line on return."""
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
    """Records in the step log of an unfinished run. An incomplete last line is dropped; any other damaged or
    changed line raises ``DamagedFile``."""
    rows, problem = readable_steps(folder, limit)
    if problem is not None:
        raise problem
    return rows


def readable_steps(folder: Path, limit: int | None = None) -> tuple[list[dict[str, Any]], DamagedFile | None]:
    """Records before the first damaged line, and the error of that line (``None`` if all are undamaged)."""
    return readable_lines(folder / STEPS_LOG, limit)


def readable_lines(path: Path, limit: int | None = None) -> tuple[list[dict[str, Any]], DamagedFile | None]:
    """As :func:`readable_steps`, for any log of this format."""
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
    """Whether the log contains the line with this digest."""
    try:
        return f'"{DIGEST}":"{digest}"}}\n'.encode() in (folder / STEPS_LOG).read_bytes()
    except FileNotFoundError:
        return False


def _checked(line: bytes, before: str) -> tuple[dict[str, Any], str]:
    """Record and digest of a line that follows a line with digest ``before``; ``ValueError`` if the line's
    digest is not the expected one."""
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
