"""SHA-256 of what a results folder holds: written with every file, checked when it is read.

A JSON file carries the digest of its own content (``sha256``, over the canonical text of the rest); the
digests of tables stand in ``status.json`` and ``manifest.json``, which are sealed so themselves. Files from
before digests were recorded are read without this check.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIGEST, SEAL = "sha256", "sealed"
"""``sealed`` is written beside the digest, so that a damaged key cannot pass for a file without one."""


class DamagedFile(ValueError):
    """A file of a results folder is not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged: {reason}; 'zobench run' of its suite sets it aside and makes again what is "
            "missing, 'zobench status --set-aside' of the results folder only sets it aside"
        )
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[DamagedFile], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sealed(body: Mapping[str, Any]) -> bytes:
    """A JSON object as the text of a file that carries its own digest."""
    plain = json.loads(json.dumps({**body, SEAL: 1}))
    whole = {**plain, DIGEST: _content_digest(plain)}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False).encode()


def read_sealed(path: Path) -> dict[str, Any]:
    """The object in a file of :func:`sealed`, or of an earlier zobench, without its digest.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is no JSON object, or another one than was written.
    """
    try:
        body = json.loads(path.read_bytes().decode())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFile(path, "it is not JSON") from error
    if not isinstance(body, dict):
        raise DamagedFile(path, "it is not a JSON object")
    recorded = body.pop(DIGEST, None)
    if (recorded is not None or SEAL in body) and recorded != _content_digest(body):
        raise DamagedFile(path, "its digest differs from the recorded one")
    body.pop(SEAL, None)
    return body


def _content_digest(body: Mapping[str, Any]) -> str:
    return digest_of(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_file(path: Path, recorded: str | None) -> None:
    """``DamagedFile`` if the file has another digest than was recorded; ``None``: not recorded.

    Each file is read once per process for this (about 1.5 GB/s), as long as its size, time and inode stay.
    """
    if recorded is None:
        return
    status = path.stat()
    if _known_digest(path, status.st_size, status.st_mtime_ns, status.st_ino) != recorded:
        raise DamagedFile(path, "its digest differs from the recorded one")


@functools.lru_cache(maxsize=2**17)
def _known_digest(path: Path, size: int, time: int, inode: int) -> str:
    return file_digest(path)
