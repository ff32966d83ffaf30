"""An advisory lock that gives a folder one owner, also across processes, and ends with its owner.

The operating system releases the lock of a killed process at once, so there are no stale locks whose age must
be judged, and two processes cannot take over the same one. The lock file contains the owner's process id, for
information only. The lock is ``filelock``'s native one: flock(2) on POSIX, where a network file system must
support it (NFSv4 does), LockFileEx on Windows.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_NAME = "lock"


class FolderLock:
    """A held lock on a folder. Release it with ``release`` or use it as a context manager."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def acquire(cls, folder: Path) -> FolderLock | None:
        """Take the lock of ``folder`` (created if missing) without waiting; ``None`` if another process, or
        this one, holds it."""
        path = folder / LOCK_NAME
        # A soft lock would remain after its owner was killed. If the lock file were unlinked on release, two
        # processes could hold locks on different files of that name.
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
                # A compaction deleted the folder between mkdir and acquire, or within mkdir: try again.
                if folder.is_file():
                    raise
            except Timeout:
                if path.exists():
                    return None  # else the owner has just deleted the folder with its lock file: try again
            else:
                return cls(path, lock)

    def release(self) -> None:
        """Release the lock. The lock file stays (see ``acquire``)."""
        self._lock.release()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _write_owner(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # on a full disk, the lock works without its owner's name
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
