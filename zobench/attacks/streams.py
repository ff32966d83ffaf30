"""One random stream per example, determined by (seed, attack name, example id) alone.

The global random state is never read or written, and a stream does not depend on the other examples in the
batch.
"""

from __future__ import annotations

import hashlib
import random


def stream(seed: int, *names: str) -> random.Random:
    """A generator seeded with SHA-256 of the seed and the names, each prefixed by its length."""
    parts = [str(seed), *names]
    # The length prefixes keep ("ab", "c") and ("a", "bc") apart.
    h = hashlib.sha256("".join(f"{len(p)}:{p}" for p in parts).encode("utf-8", "surrogatepass"))
    return random.Random(int.from_bytes(h.digest(), "big"))
