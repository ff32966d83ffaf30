"""SHA-256 digests of the files of a results folder: written with every file, checked when it is read.

A JSON file carries the digest of its own content (``sha256``, over the canonical text of the rest); the
digests of tables are recorded in ``status.json`` and ``manifest.json``, which also contain their own digests.
Files written before digests were recorded are read without this check.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIGEST, SEAL = "sha256", "sealed"
"""The key ``sealed`` is written in addition to the digest. If the name of the digest's key is damaged, the
file is therefore not mistaken for one without a digest."""


class DamagedFile(ValueError):
    """The content of a file of a results folder differs from what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged: {reason}; 'zobench run' of its suite sets it aside and makes again what is "
            "missing, 'zobench status --set-aside' of the results folder only sets it aside"
        )
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[DamagedFile], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


def digest_of(*parts: bytes | memoryview) -> str:
    """SHA-256 of the parts one after another."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def sealed(body: Mapping[str, Any]) -> bytes:
    """A JSON object as the text of a file that contains its own digest."""
    plain = json.loads(json.dumps({**body, SEAL: 1}))
    whole = {**plain, DIGEST: _content_digest(plain)}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False).encode()


def read_sealed(path: Path) -> dict[str, Any]:
    """The JSON object in a file written by :func:`sealed` or by an earlier version, without its digest.

    Raises:
        FileNotFoundError: the file does not exist.
        DamagedFile: the file is not a JSON object, or its content differs from what was written.
    """
    return unsealed(path.read_bytes(), path)


def unsealed(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in the content ``data`` of a file; ``DamagedFile`` as :func:`read_sealed`."""
    try:
        body = json.loads(data.decode())
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
    """Raise ``DamagedFile`` if the file's digest differs from ``recorded``; no check if that is ``None``.

    Each file is read once per process for this check (about 1.5 GB/s), unless its size, modification time or
    inode changes.
    """
    if recorded is None:
        return
    status = path.stat()
    if _known_digest(path, status.st_size, status.st_mtime_ns, status.st_ino) != recorded:
        raise DamagedFile(path, "its digest differs from the recorded one")


@functools.lru_cache(maxsize=2**17)
def _known_digest(path: Path, size: int, time: int, inode: int) -> str:
    return file_digest(path)
