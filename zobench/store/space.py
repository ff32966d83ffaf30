"""Full disks and read-only folders: space kept for the record of a failure, and what to say.

``reserve`` in the folder of a run in progress is given up where nothing else fits, so that the failure can be
recorded. Without even that the run simply stays unfinished, and the next call goes on from its checkpoint.
"""

from __future__ import annotations

import errno
import secrets
from pathlib import Path

from zobench.store import files

RESERVE = "reserve"
RESERVE_BYTES = 2**17
"""A runs table has some 40 kB, a status 1 kB plus the traceback."""

_WORDS = {
    errno.ENOSPC: "no space is left on the disk; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; make it writable, or choose another folder with --output",
}


def storage_problem(error: BaseException | None, where: Path | None = None) -> str | None:
    """What to tell where an error, or its cause, says that nothing can be written; ``None`` for others."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _WORDS:
            place = error.filename if error.filename is not None else where
            words = _WORDS[error.errno]
            return f"{place}: {words}" if place is not None else words
        error = error.__cause__
    return None


def keep_reserve(folder: Path) -> None:
    """Take the space, unless it is taken. Random bytes, which no file system compresses away."""
    path = folder / RESERVE
    if not path.exists() or path.stat().st_size < RESERVE_BYTES:
        files.write_atomic(path, secrets.token_bytes(RESERVE_BYTES))


def give_up_reserve(folder: Path) -> None:
    files.remove_file(folder / RESERVE)
