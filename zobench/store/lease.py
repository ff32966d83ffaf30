"""Leases on runs in a folder that several machines share: a claim that ends unless its owner renews it.

A lease is a file with its owner's token. Creating it is atomic (``O_EXCL``); its owner touches it several
times within ``seconds``. Another worker may take a lease that is older: it creates a file named by the old
token, which succeeds for one worker only, and replaces the lease. Ages are differences between two
modification times on the same file system, so that clocks of the machines need not agree.
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
        if not _created(path, token) and not _succeeded(path, token, seconds):
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
    draft = _draft(path, token)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _succeeded(path: Path, token: str, seconds: float) -> bool:
    """Whether the lease was older than ``seconds`` and has this token now.

    Whoever creates the file that is named by the old token is its only successor, and replaces the lease. The
    lease exists all the time: if it were removed first, a third worker could create it meanwhile.
    """
    old = _token(path)
    successor = path.with_name(f"{path.name}.{old}.next")
    draft = _draft(path, token)
    try:
        if not _older(path, draft, seconds):
            return False
        try:
            os.link(draft, successor)
        except FileExistsError:
            if _older(successor, draft, seconds):  # its owner ended between the two steps
                successor.unlink(missing_ok=True)
            return False
        try:
            # Another successor may have come and gone, or the owner has renewed it.
            if _token(path) != old or not _older(path, draft, seconds):
                return False
            draft.replace(path)
            return True
        finally:
            successor.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    finally:
        draft.unlink(missing_ok=True)


def _draft(path: Path, token: str) -> Path:
    """A file beside the lease with what a lease of this token holds."""
    draft = path.with_name(f"{path.name}.{token}")
    owner = {"token": token, "host": socket.gethostname(), "process": os.getpid()}
    draft.write_text(json.dumps(owner), encoding="utf-8")
    return draft


def _older(path: Path, new: Path, seconds: float) -> bool:
    """Whether ``path`` was modified more than ``seconds`` before ``new``, which was written just now."""
    return new.stat().st_mtime - path.stat().st_mtime > seconds


def _token(path: Path) -> str | None:
    """The token of a lease file; ``None`` if there is none."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["token"])
    except (OSError, ValueError, KeyError):
        return None
