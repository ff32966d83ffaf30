"""One owner per folder, also across processes: an advisory lock that dies with its owner.

The operating system releases the lock of a killed process at once, so there is no stale lock to judge by age
and no moment at which two processes both take one over. The file holds the owner's process id for whoever
looks. The lock is ``filelock``'s native one: flock(2) on POSIX, where a network file system must support it
(NFSv4 does), LockFileEx on Windows.
"""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_NAME = "lock"


class FolderLock:
    """Held lock on a folder; release it with ``release`` or as a context manager."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def acquire(cls, folder: Path) -> FolderLock | None:
        """Take the lock of ``folder`` (made if missing) without waiting; ``None`` if another process, or this
        one, holds it."""
        path = folder / LOCK_NAME
        # A soft lock would survive a killed owner; an unlinked file would let two owners in.
        lock = FileLock(
            path,
            thread_local=False,
            fallback_to_soft=False,
            preserve_lock_file=True,
            on_acquired=_write_owner,
        )
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(blocking=False)
            except (FileNotFoundError, FileExistsError):
                # The folder was deleted by a compaction between two calls; mkdir itself makes two.
                if folder.is_file():
                    raise
            except Timeout:
                if path.exists():
                    return None
            else:
                return cls(path, lock)

    def release(self) -> None:
        """Give the lock back; the file stays, since unlinking it could split owners."""
        self._lock.release()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _write_owner(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
