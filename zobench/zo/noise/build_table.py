"""Writes ``gaussian_table.f32``: upper-tail normal quantiles at the knots of the Gaussian algorithm.

Knot j = 256 e + s (e = 0..31, s = 0..255) is the probability p_j = 2^(e-33) (1 + s/256); knot 8192 is p =
1/2. The entry is Q(p_j) with Q(p) = sqrt(2) erfinv(1 - 2p), rounded to float64 and then to float32, stored
little-endian. One more zero follows, so that entry i+1 exists for every i. mpmath computes in integer
arithmetic, with equal results on every machine. ``python -m zobench.zo.noise.build_table`` writes the file
again in seconds; a test checks its SHA-256.
"""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from pathlib import Path

OCTAVES = 32
PER_OCTAVE = 256
DIGITS = 40
PATH = Path(__file__).with_name("gaussian_table.f32")


def knot(j: int) -> Fraction:
    """The exact upper-tail probability of knot ``j``."""
    octave, step = divmod(j, PER_OCTAVE)
    return Fraction(2) ** (octave - 33) * (1 + Fraction(step, PER_OCTAVE))


def quantile(p: Fraction) -> float:
    """Q(p), computed to 40 digits and rounded to float64."""
    import mpmath

    with mpmath.workdps(DIGITS):
        target = mpmath.mpf(p.numerator) / p.denominator
        z = mpmath.mpf(0)
        log_target = mpmath.log(target)
        # The logarithm of the tail probability is concave in z, so that Newton's method converges from z = 0.
        for _ in range(60):
            tail = mpmath.erfc(z / mpmath.sqrt(2)) / 2
            step = (mpmath.log(tail) - log_target) * tail / mpmath.npdf(z)
            z += step
            if abs(step) < mpmath.mpf(10) ** (5 - DIGITS):
                return float(z)
    raise AssertionError(f"no convergence at p = {p}")


def table() -> bytes:
    """The whole file: 8194 little-endian float32."""
    values = [quantile(knot(j)) for j in range(OCTAVES * PER_OCTAVE)]
    return struct.pack(f"<{len(values) + 2}f", *values, 0.0, 0.0)


if __name__ == "__main__":
    sys.stdout.write(f"writing {PATH.name}\n")
    PATH.write_bytes(table())
