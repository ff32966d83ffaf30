"""What libraries print while runs are executed, kept in one file of the results folder and counted.

The standard error of each process is redirected by file descriptor, so that messages of compiled code, of
processes that the run starts, and of a worker that crashes are kept, as well as Python's warnings and log
messages. Each process writes a file of its own (``logs/NAME-*.log``), because several machines cannot append
to one file safely; at the end of the command they become ``logs/NAME.log``. A killed command leaves its
parts.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from zobench.names import printable
from zobench.store import files

FOLDER = "logs"
TITLE = "== "
"""Begins a line that names a run; what follows was printed during it, or after it."""
_STDOUT, _STDERR = 1, 2
_ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}


@dataclass(frozen=True, slots=True)
class Gathered:
    """The log of a command: ``lines`` that were printed and how many are ``different``, without titles and
    empty lines."""

    path: Path
    lines: int
    different: int

    def __str__(self) -> str:
        lines = "1 line" if self.lines == 1 else f"{self.lines} lines"
        few = "" if self.different == self.lines else f" ({self.different} different)"
        return f"warnings and messages of libraries: {lines}{few} in {self.path}"


class LibraryLog:
    """The log of one command in a results folder. Files appear when something is redirected to them."""

    def __init__(self, folder: Path) -> None:
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
        self.path = folder / FOLDER / f"{name}.log"

    def part(self) -> Path:
        """A new name for the file of one process."""
        return self.path.with_name(f"{self.path.stem}-{uuid.uuid4().hex[:8]}.log")

    def add(self, title: str, text: str) -> None:
        """Add text that was printed earlier."""
        if text.strip():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.part().write_text(f"{TITLE}{title}\n{text}\n", **_ENCODING)

    def gather(self) -> Gathered | None:
        """Make one file of the parts; ``None`` if nothing was printed. Control characters, which a terminal
        that shows the file would obey, are replaced. On a full disk the parts stay."""
        parts = sorted(self.path.parent.glob(f"{self.path.stem}-*.log"))
        count, seen = 0, set()
        if not parts:
            return None
        temporary = files.temporary_name(self.path)
        try:
            with temporary.open("w", **_ENCODING) as out:
                for line in (line for part in parts for line in _lines(part)):
                    out.write(line + "\n")
                    if not line.startswith(TITLE):
                        count += 1
                        seen.add(line)
            if count:
                temporary.replace(self.path)
            for part in parts:
                files.remove_file(part)
        except OSError:
            return Gathered(self.path.parent, count, len(seen))
        finally:
            files.remove_file(temporary)
            with suppress(OSError):  # not empty
                self.path.parent.rmdir()
        return Gathered(self.path, count, len(seen)) if count else None


def _lines(part: Path) -> Iterator[str]:
    """The lines of a file that are not empty, without titles that nothing follows."""
    title = ""
    with part.open(**_ENCODING) as file:
        for raw in file:
            line = printable(raw.rstrip(), lines=True)
            if line.startswith(TITLE):
                title = line
            elif line:
                yield from [title] if title else []
                title = ""
                yield line


Messages = Literal["workers", "all", "none"]


@dataclass(frozen=True, slots=True)
class Logged:
    """Where messages go: ``log``, or ``None`` for standard error; ``here``: those of this process too;
    ``terminal``: the file descriptor of what was standard error before."""

    log: LibraryLog | None = None
    here: bool = False
    terminal: int = _STDERR


@contextmanager
def kept_messages(
    output: Path, messages: Messages, earlier: str, tell: Callable[[str], None]
) -> Iterator[Logged]:
    """Keep what libraries print in the log of the results folder, and tell at the end how much that was.

    Args:
        messages: of which processes: worker processes, all (this one too), or none.
        earlier: messages of the time before.
    """
    if messages == "none":
        yield Logged()
        return
    log, here = LibraryLog(output), messages == "all"
    log.add("planning", earlier)
    try:
        with redirected(log.part()) if here else nullcontext(_STDERR) as terminal:
            yield Logged(log, here, terminal)
    finally:
        if found := log.gather():
            tell(str(found))


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what is printed to standard error inside the block, as one text that is in the list afterwards.
    If the block raises, the text is printed."""
    texts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "messages"
        path.touch()
        try:
            with redirected(path):
                yield texts
        except BaseException:
            sys.stderr.write(printable(path.read_text(**_ENCODING), lines=True))
            raise
        texts.append(path.read_text(**_ENCODING))


def note_run(name: str) -> None:
    """Write the title of a run to standard error. Only where standard error is redirected."""
    print(f"{TITLE}{printable(name)}", file=sys.stderr, flush=True)


@contextmanager
def redirected(path: Path, *, output: bool = False) -> Iterator[int]:
    """Append the standard error of this process to a file, and with ``output`` its standard output too.

    Yields the file descriptor of what was standard error before. If the file cannot be written (a full disk),
    nothing is redirected. ``sys.stderr`` is not replaced: log handlers that libraries create meanwhile keep
    the stream that they find.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        yield _STDERR
        return
    _flush()
    saved = {number: os.dup(number) for number in ((_STDOUT, _STDERR) if output else (_STDERR,))}
    for number in saved:
        os.dup2(file, number)
    os.close(file)
    try:
        yield saved[_STDERR]
    finally:
        _flush()
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # a full disk, a closed stream
                stream.flush()
