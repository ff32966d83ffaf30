"""Writes ``gaussian_table.f32``: upper-tail normal quantiles at the knots of the Gaussian algorithm.

Knot j = 256 e + s (e = 0..31, s = 0..255) stands at p_j = 2^(e-33) (1 + s/256); knot 8192 is p = 1/2. The
entry is Q(p_j), with Q(p) = sqrt(2) erfinv(1 - 2p), rounded to float64 and then to float32, stored
little-endian; one more zero follows so that entry i+1 exists for every i. mpmath computes in integer
arithmetic, hence equally on every machine. ``python -m zobench.zo.noise.build_table`` writes the file again
in seconds; its SHA-256 is tested.
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
    """Upper-tail probability of knot ``j``, exactly."""
    octave, step = divmod(j, PER_OCTAVE)
    return Fraction(2) ** (octave - 33) * (1 + Fraction(step, PER_OCTAVE))


def quantile(p: Fraction) -> float:
    """Q(p) as the float64 nearest to a 40-digit value: Newton on log of the tail, started from float64."""
    import mpmath

    with mpmath.workdps(DIGITS):
        target = mpmath.mpf(p.numerator) / p.denominator
        z = mpmath.mpf(0)
        log_target = mpmath.log(target)
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
