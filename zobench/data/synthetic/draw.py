"""Random streams by name, splits by content hash, and word lists."""

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
    """A number in ``[0, modulus)`` that depends on the content alone, used to assign examples to splits."""
    return int(digest(*parts)[:12], 16) % modulus


def words(text: str) -> tuple[str, ...]:
    """The words of ``text``, split at spaces; word lists are written this way."""
    return tuple(text.split())
