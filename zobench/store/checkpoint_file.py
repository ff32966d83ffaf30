"""Checkpoint files: one safetensors file that contains its own digest; the previous checkpoint is kept as
well.

The digest (SHA-256 over the file with zeros in place of the digest) is part of the header, so that a kill
cannot leave a file without its digest. The older of the two checkpoints is deleted before a new one is
written, so there are never more than two on disk.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zobench.store import files
from zobench.store.digests import SEAL, DamagedFile, digest_of
from zobench.store.tensor_file import file_parts

CHECKPOINT = "checkpoint.safetensors"
EARLIER = "checkpoint-earlier.safetensors"
_BLANK = b"0" * 64
_PLACE = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state from which a run can be resumed: tensors by name, and the position as JSON values (step, meter,
    evaluations so far, scalars of the method)."""

    tensors: Mapping[str, Any]
    position: Mapping[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a new checkpoint; the previous one is kept as the earlier checkpoint. Copies nothing."""
    position = json.dumps({**checkpoint.position, SEAL: 1})
    head, *data = file_parts(checkpoint.tensors, {"position": position, "sha256": _BLANK.decode()})
    start = _digest_place(bytes(head))
    assert start is not None, "the header holds what was just put there"
    digest = digest_of(head, *data)
    parts = [head[:start], digest.encode(), head[start + len(_BLANK) :], *data]
    files.write_keeping(folder / CHECKPOINT, parts, folder / EARLIER)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The state in a file; ``None`` if the file does not exist.

    Raises:
        DamagedFile: the content of the file differs from what was written.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    recorded = _check(path)
    try:
        with safe_open(path, framework="pt") as stream:
            position = json.loads(stream.metadata()["position"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, "it is not a checkpoint") from error
    if position.pop(SEAL, None) is not None and not recorded:
        raise DamagedFile(path, "its digest is gone")
    return Checkpoint(tensors, position)


def remove_checkpoints(folder: Path) -> None:
    for name in (CHECKPOINT, EARLIER):
        files.remove_file(folder / name)


def _check(path: Path) -> bool:
    """Whether the file contains a digest; ``DamagedFile`` if that is not the digest of the file."""
    with path.open("rb") as stream:
        first = stream.read(8)
        head = first + stream.read(min(int.from_bytes(first, "little"), path.stat().st_size))
        start = _digest_place(head)
        if start is None:
            return False
        found = hashlib.sha256(head[:start] + _BLANK + head[start + len(_BLANK) :])
        while part := stream.read(_CHUNK):
            found.update(part)
    if found.hexdigest().encode() != head[start : start + len(_BLANK)]:
        raise DamagedFile(path, "its digest differs from the recorded one")
    return True


def _digest_place(head: bytes) -> int | None:
    found = _PLACE.search(head)
    return None if found is None else found.start(1)
