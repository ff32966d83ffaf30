"""Tensors that a replay needs beside the scalars (masks, bases, anchors), kept once under their digest.

``<runs>/artifacts/<sha256>.safetensors``: runs that share a mask share the file, compaction leaves it where
it is, and a file whose bytes are not those of its name is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zobench.store import files
from zobench.store.digests import DamagedFile, file_digest
from zobench.store.paths import artifact_file

if TYPE_CHECKING:
    import torch


def artifact_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The tensors as one safetensors file; the same tensors give the same bytes."""
    from safetensors.torch import save

    return save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})


def artifacts_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of ``artifact_bytes``."""
    return hashlib.sha256(artifact_bytes(tensors)).hexdigest()


def keep_artifacts(runs: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """Write the tensors under ``runs`` unless they are there undamaged, and return their digest."""
    data = artifact_bytes(tensors)
    digest = hashlib.sha256(data).hexdigest()
    path = artifact_file(runs, digest)
    if not path.exists() or file_digest(path) != digest:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, data, sync=True)
    return digest


def read_artifacts(runs: Path, digest: str) -> dict[str, torch.Tensor]:
    """The tensors of ``digest``; ``ValueError`` where the file is gone or holds something else."""
    from safetensors.torch import load

    path = artifact_file(runs, digest)
    if not path.exists():
        raise ValueError(f"{path}: the artifacts that this run replays with are gone")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise DamagedFile(path, "its bytes are not those of its name")
    return load(data)
