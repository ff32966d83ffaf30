"""Random streams by name, splits by content hash, and how word lists are written."""

from __future__ import annotations

import hashlib
import random


def stream(seed: int, *path: str) -> random.Random:
    """An independent generator for ``(seed, path)``; the same on every machine and Python version."""
    return random.Random("/".join([str(seed), *path]))


def digest(*parts: object) -> str:
    """SHA-256 (hexadecimal) of the parts' text, in order."""
    return hashlib.sha256("\x1f".join(str(p) for p in parts).encode()).hexdigest()


def bucket(modulus: int, *parts: object) -> int:
    """A number in ``[0, modulus)`` that depends on the content alone: the way rows are assigned to splits."""
    return int(digest(*parts)[:12], 16) % modulus


def words(text: str) -> tuple[str, ...]:
    """The words of ``text``, split at spaces: how word lists are written down here."""
    return tuple(text.split())
