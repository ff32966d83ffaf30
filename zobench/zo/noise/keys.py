"""Seeds and keys: 64-bit numbers that identify a direction and a tensor.

``tensor_key`` is the little-endian 64-bit BLAKE2b digest of the tensor's canonical name in UTF-8.
``derive_seed`` is the same digest of its parts, each written as ``i<decimal>;`` (integers) or ``s<byte
length>:<utf-8>;`` (strings), so that different orders or splits into parts give different input. Both are
equal on every machine and Python version.
"""

from __future__ import annotations

import hashlib


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def tensor_key(name: str) -> int:
    """64-bit key of a tensor by its canonical name; independent of order, shape, dtype and device."""
    return _digest(name.encode("utf-8"))


def derive_seed(*parts: int | str) -> int:
    """64-bit seed from a sequence of integers and strings, such as (run seed, step, query).

    Raises:
        ValueError: a part is neither an integer nor a string, or there is no part.
    """
    if not parts:
        raise ValueError("derive_seed needs at least one integer or string")
    pieces: list[bytes] = []
    for part in parts:
        if isinstance(part, str):
            text = part.encode("utf-8")
            pieces.append(b"s%d:%s;" % (len(text), text))
        elif isinstance(part, int):
            pieces.append(b"i%d;" % int(part))
        else:
            raise ValueError(f"derive_seed takes integers and strings, got {type(part).__name__}: {part!r}")
    return _digest(b"".join(pieces))
