"""Tensors that a replay needs besides the scalars (masks, bases, anchors), stored once under their digest.

The file is ``<runs>/artifacts/<sha256>.safetensors``; runs with the same mask share it. Compaction does not
move it. A file whose content does not match the digest in its name is rejected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zobench.store import files
from zobench.store.digests import DamagedFile, digest_of, file_digest
from zobench.store.paths import artifact_file
from zobench.store.tensor_file import file_parts

if TYPE_CHECKING:
    import torch


def artifacts_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the tensors as one safetensors file; equal tensors give equal bytes."""
    return digest_of(*file_parts(tensors))


def keep_artifacts(runs: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """Write the tensors under ``runs``, unless an undamaged file with them exists, and return their
    digest."""
    parts = file_parts(tensors)
    digest = digest_of(*parts)
    path = artifact_file(runs, digest)
    if not path.exists() or file_digest(path) != digest:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, parts, sync=True)
    return digest


def read_artifacts(runs: Path, digest: str) -> dict[str, torch.Tensor]:
    """The tensors of ``digest``; ``ValueError`` if the file is missing or its content has another digest."""
    from safetensors.torch import load

    path = artifact_file(runs, digest)
    if not path.exists():
        raise ValueError(f"{path} is missing: this run cannot be replayed without its artifacts")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise DamagedFile(path, "its bytes are not those of its name")
    return load(data)
