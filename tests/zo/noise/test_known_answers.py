"""The generator compared with published vectors, and the algorithm with numbers stored in this file."""

from __future__ import annotations

import hashlib
import struct
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import norm

from zobench.zo import noise
from zobench.zo.noise import build_table, philox, table

ONES = 0xFFFFFFFF
TABLE_DIGEST = "b152991a8370fa725076e7d07981198f0938cc7634ef1da85c67f19d9b4d2eb7"

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, output.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def scalar_philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x32-10 in Python integers, from the paper."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & ONES, (p0 >> 32) ^ c[3] ^ k[1], p0 & ONES]
        k = [(k[0] + 0x9E3779B9) & ONES, (k[1] + 0xBB67AE85) & ONES]
    return tuple(c)


def word(w: int, seed: int, key: int, code: int) -> int:
    """Word w of a stream by the definition."""
    b = w // 4
    counter = (b % 2**32, b // 2**32 + 2**28 * code, key % 2**32, key // 2**32)
    return scalar_philox(counter, (seed % 2**32, seed // 2**32))[w % 4]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_published_vectors(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    c0, c1, c2, c3 = (torch.tensor([v]) for v in counter)
    assert tuple(int(w) for w in philox.philox4x32((c0, c1, c2, c3), key)) == expected
    assert scalar_philox(counter, key) == expected


STREAMS = [(0, 0), (1, 2**64 - 1), (2**64 - 1, 0x0123456789ABCDEF)]
PLACES = [0, 1, 6, 131, 2**34 - 1, 2**34, 2**59 + 5]


@pytest.mark.parametrize(("seed", "key"), STREAMS)
def test_elements_follow_the_written_algorithm(seed: int, key: int) -> None:
    knots = np.frombuffer(table.PATH.read_bytes(), "<f4")
    for e in PLACES:
        at = torch.tensor([e])
        sign = 1 - 2 * (word(e // 32, seed, key, 2) >> (e % 32) & 1)
        assert float(noise.gather(at, seed=seed, key=key, kind="rademacher")) == sign
        uniform = (word(e, seed, key, 3) >> 8) / 2**24
        assert float(noise.gather(at, seed=seed, key=key, kind="uniform")) == uniform
        w = word(e, seed, key, 1)
        f = np.float32(w % 2**31) + np.float32(0.5)
        b = struct.unpack("<I", struct.pack("<f", f))[0] - 0x3F000000
        i, t = b // 2**15, np.float32(b % 2**15) * np.float32(2**-15)
        z = knots[i] + (knots[i + 1] - knots[i]) * t
        assert float(noise.gather(at, seed=seed, key=key, kind="gaussian")) == float(z if w < 2**31 else -z)


def test_raw_words_follow_the_definition() -> None:
    drawn = noise.words(9, seed=5, key=7, offset=2**34 - 3)
    assert drawn.tolist() == [word(2**34 - 3 + j, 5, 7, 0) for j in range(9)]


def test_table_digest() -> None:
    assert hashlib.sha256(table.PATH.read_bytes()).hexdigest() == TABLE_DIGEST


def test_table_entries_are_those_of_the_generator() -> None:
    pytest.importorskip("mpmath")
    knots = struct.unpack("<8194f", table.PATH.read_bytes())
    assert knots[8192:] == (0.0, 0.0)
    assert build_table.knot(8192) == Fraction(1, 2)
    for j in (0, 1, 255, 256, 4000, 7936, 8191):
        assert struct.pack("<f", build_table.quantile(build_table.knot(j))) == struct.pack("<f", knots[j])


@pytest.mark.slow
def test_whole_table_is_built_again_to_the_bit() -> None:
    pytest.importorskip("mpmath")
    assert build_table.table() == table.PATH.read_bytes()


def test_interpolation_error_is_below_what_is_promised() -> None:
    """|z - Q(f / 2^32)| < 1e-6 over every 509th bit pattern of f, all octaves."""
    b = torch.arange(0, 8192 * 2**15, 509)
    f = (b + 0x3F000000).to(torch.int32).view(torch.float32).double()
    cpu = torch.device("cpu")
    i, t = b >> 15, (b & 0x7FFF).float() / 2**15
    z = table.quantiles(cpu)[i] + table.differences(cpu)[i] * t
    error = np.abs(z.double().numpy() - norm.isf(f.numpy() / 2**32))
    assert error.max() < 1e-6


FROZEN = {
    "gaussian": "7d87bbbb67dbae354cb615de6a5fc2c22b4950529d67a22629b6768500277a20",
    "rademacher": "660c9389b82cdfe1dc48c2ed8d55c8bdca46dd60032eea6fc8936b11f93b41b6",
    "uniform": "06632bbe77f73cfefc479259605b80d2c09eaca643a43969ed4e2af8ee7d0154",
}


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "uniform"])
def test_frozen_digest_of_a_stream(kind: noise.Kind) -> None:
    """SHA-256 of 10007 float32 from element 3: a change of the algorithm cannot pass unseen."""
    u = torch.empty(10007)
    noise.fill(u, seed=noise.derive_seed("frozen", 1), key=noise.tensor_key("a.b"), kind=kind, offset=3)
    assert hashlib.sha256(u.numpy().astype("<f4").tobytes()).hexdigest() == FROZEN[kind]


def test_keys_and_seeds_are_frozen() -> None:
    name = "model.layers.0.weight"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    assert noise.tensor_key(name) == int.from_bytes(digest, "little")
    assert noise.derive_seed(1, 2, 3) == 0x9BF22DD21D02F068
    assert noise.derive_seed("a", -1) == 0xA308B0C2E5CA3FFE


def test_derived_seeds_depend_on_order_split_and_type() -> None:
    parts: list[tuple[int | str, ...]] = [(1, 2), (2, 1), (12,), (1, "2"), ("1", "2"), ("12",), ("i1;i2;",)]
    assert len({noise.derive_seed(*p) for p in parts}) == len(parts)
    assert all(0 <= noise.derive_seed(*p) < 2**64 for p in parts)
    with pytest.raises(ValueError, match="at least one"):
        noise.derive_seed()
    with pytest.raises(ValueError, match="float"):
        noise.derive_seed(1.0)  # type: ignore[arg-type]
