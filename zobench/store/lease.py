"""Leases on runs in a folder that several machines share: a claim that ends unless its owner renews it.

A lease is a file with its owner's token. Creating it is atomic (``O_EXCL``); its owner touches it several
times within ``seconds``. Another worker may take a lease that is older: it renames the file, which succeeds
for one worker only, and checks the token of what it renamed. Ages are differences between two modification
times on the same file system, so that clocks of the machines need not agree.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from pathlib import Path

TOUCHES = 4
"""Renewals within the time of a lease."""


class LeaseLost(BaseException):
    """The lease of a running run was taken by another worker: this one must not write to it any more. Not an
    ``Exception``, so that it is not recorded as a failure of the run."""


class Lease:
    """A held lease. ``check`` raises :class:`LeaseLost` if it is no longer held; ``release`` ends it."""

    def __init__(self, path: Path, token: str, seconds: float) -> None:
        self.path, self._token = path, token
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(seconds / TOUCHES,), daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, folder: Path, name: str, seconds: float) -> Lease | None:
        """Take the lease ``name`` in ``folder`` without waiting; ``None`` if another worker holds it."""
        folder.mkdir(parents=True, exist_ok=True)
        path, token = folder / name, uuid.uuid4().hex
        if not _created(path, token) and not (_freed(path, seconds) and _created(path, token)):
            return None
        return cls(path, token, seconds)

    def check(self) -> None:
        if self._lost:
            raise LeaseLost(f"the lease {self.path} was taken by another worker")

    def release(self) -> None:
        """End the lease; a lease that was lost stays with its new owner."""
        self._ended.set()
        self._thread.join()
        if not self._lost and _token(self.path) == self._token:
            self.path.unlink(missing_ok=True)

    def _renew(self, every: float) -> None:
        while not self._ended.wait(every):
            if _token(self.path) != self._token:
                self._lost = True
                return
            with contextlib.suppress(OSError):
                os.utime(self.path)


def _created(path: Path, token: str) -> bool:
    """Whether the lease file was created with this token; it appears with its content, or not at all."""
    draft = path.with_name(f"{path.name}.{token}")
    owner = {"token": token, "host": socket.gethostname(), "process": os.getpid()}
    draft.write_text(json.dumps(owner), encoding="utf-8")
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _freed(path: Path, seconds: float) -> bool:
    """Whether the lease was older than ``seconds`` and is removed now."""
    token, probe = _token(path), path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        age = probe.stat().st_mtime - path.stat().st_mtime
        if age <= seconds:
            return False
        path.rename(probe)
        if _token(probe) == token:
            return True
        # Another worker took the old lease since it was read, and this is its new one: put it back.
        with contextlib.suppress(FileExistsError):
            os.link(probe, path)
        return False
    except FileNotFoundError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def _token(path: Path) -> str | None:
    """The token of a lease file; ``None`` if there is none."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["token"])
    except (OSError, ValueError, KeyError):
        return None
