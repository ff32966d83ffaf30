"""One owner per folder, also across processes: an advisory lock that dies with its owner.

The operating system releases the lock of a killed process at once, so there is no stale lock to judge by age
and no moment at which two processes both take one over. The file holds the owner's process id for whoever
looks. Source: flock(2); on a network file system it needs one that supports flock (NFSv4 does).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

LOCK_NAME = "lock"


class FolderLock:
    """Held lock on a folder; release it with ``release`` or as a context manager."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd: int | None = fd

    @classmethod
    def acquire(cls, folder: Path) -> FolderLock | None:
        """Take the lock of ``folder`` (made if missing) without waiting; ``None`` if another process holds
        it."""
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / LOCK_NAME
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # the folder was compacted away between the two calls
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            if _still_there(path, fd):
                os.ftruncate(fd, 0)
                os.write(fd, f"{os.getpid()}\n".encode())
                return cls(path, fd)
            os.close(fd)

    def release(self) -> None:
        """Give the lock back; the file stays, since unlinking it could split owners."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _still_there(path: Path, fd: int) -> bool:
    """Whether the locked file is still the one that has this name (a compaction may have deleted it)."""
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)
