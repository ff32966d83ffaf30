"""Full disks and read-only folders: reserved space for the record of a failure, and the message to the user.

The file ``reserve`` in the folder of a run in progress is deleted when the disk is full, so that the failure
can be recorded. If even that is not enough, the run remains unfinished and the next call resumes it from its
checkpoint.
"""

from __future__ import annotations

import errno
import secrets
from pathlib import Path

from zobench.store import files

RESERVE = "reserve"
RESERVE_BYTES = 2**17
"""Size of the reserve in bytes: a runs table has about 40 kB, a status 1 kB plus the traceback."""

_WORDS = {
    errno.ENOSPC: "no space is left on the disk; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; make it writable, or choose another folder with --output",
}


def storage_problem(error: BaseException | None, where: Path | None = None) -> str | None:
    """Message for the user if an error, or its cause, means that nothing can be written; else ``None``."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _WORDS:
            place = error.filename if error.filename is not None else where
            words = _WORDS[error.errno]
            return f"{place}: {words}" if place is not None else words
        error = error.__cause__
    return None


def keep_reserve(folder: Path) -> None:
    """Reserve the space, unless it is reserved already. Random bytes, because a file system cannot compress
    them."""
    path = folder / RESERVE
    if not path.exists() or path.stat().st_size < RESERVE_BYTES:
        files.write_atomic(path, secrets.token_bytes(RESERVE_BYTES))


def give_up_reserve(folder: Path) -> None:
    files.remove_file(folder / RESERVE)
