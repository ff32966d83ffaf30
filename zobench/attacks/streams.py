"""One random stream per example, a function of (seed, attack name, example id) alone.

The global random state is never read or written, and no stream depends on which other examples are in the
batch.
"""

from __future__ import annotations

import hashlib
import random


def stream(seed: int, *names: str) -> random.Random:
    """A generator seeded with SHA-256 of the seed and the names, each prefixed by its length."""
    parts = [str(seed), *names]
    h = hashlib.sha256("".join(f"{len(p)}:{p}" for p in parts).encode("utf-8", "surrogatepass"))
    return random.Random(int.from_bytes(h.digest(), "big"))
