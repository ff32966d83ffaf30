"""Noise for the directions: u is a function of (seed, tensor key, element index), equal on every backend.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
Everything below is exact; "float32 op" means one IEEE 754 operation rounded to nearest even, never fused
with another.

**Words.** A stream is (seed, tensor key, kind code): bits 0, gaussian 1, rademacher 2, uniform 3. Its block
B is Philox4x32-10 of the counter words (B mod 2^32, B div 2^32 + 2^28 * code, key mod 2^32, key div 2^32)
under the key words (seed mod 2^32, seed div 2^32). Word w of the stream is output word w mod 4 of block w
div 4.

**Rademacher.** Element e is bit e mod 32 (bit 0 the lowest) of word e div 32: +1 where the bit is 0, else -1.

**Uniform.** Element e is (word e div 2^8) / 2^24, exact in float32, on [0, 1).

**Gaussian.** Element e is read from W = word e. Let m = W mod 2^31 and s = W div 2^31.

1. f = float32(m) + 0.5 (conversion with rounding to nearest even, then a float32 op); f / 2^32 is the
   upper-tail probability.
2. b = (bit pattern of f as an integer) - 0x3F000000; i = b div 2^15; t = float32(b mod 2^15) * 2^-15.
3. z = T[i] + D[i] * t (float32 multiplication, then float32 addition), D[i] = T[i+1] - T[i] in float32.
4. u = z where s = 0, else z with its sign bit set.

T (``gaussian_table.f32``, 8194 float32 values, written by ``build_table``) is the upper-tail normal quantile
at 256 knots in each of 32 octaves of probability, followed by zeros. The bit pattern of f gives both the
table index and the position between two knots. |u| <= 6.338. The absolute error relative to the exact
quantile of f / 2^32 is below 1e-6 everywhere. f has 24 significant bits, so that values near 0 are 7.5e-8
apart.

**axpy_.** t + scale * u: ``scale`` is rounded to float32; then one float32 multiplication, one float32
addition, and one rounding to the tensor's dtype. Elements e up to 2^60.

**Identity between backends** holds for finite, normal results; payloads of NaN are not specified.

``reference`` needs torch only; ``cpu`` and ``sweeps`` need numba, ``cuda`` needs triton; these are imported
on first use. ``legacy`` reproduces the random numbers of the MeZO code base instead.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zobench.zo.noise.api import (
        NoiseKind,
        axpy_,
        axpy_many_,
        fill,
        fused_sweeps,
        gather,
        sample,
        to_float32,
        words,
    )
    from zobench.zo.noise.backend import Backend, backend_for, use_backend
    from zobench.zo.noise.keys import derive_seed, tensor_key

_HOMES = {
    **dict.fromkeys(
        (
            "NoiseKind",
            "axpy_",
            "axpy_many_",
            "fill",
            "gather",
            "fused_sweeps",
            "sample",
            "to_float32",
            "words",
        ),
        "api",
    ),
    **dict.fromkeys(("Backend", "backend_for", "use_backend"), "backend"),
    **dict.fromkeys(("derive_seed", "tensor_key"), "keys"),
}

__all__ = [
    "Backend",
    "NoiseKind",
    "axpy_",
    "axpy_many_",
    "backend_for",
    "derive_seed",
    "fill",
    "fused_sweeps",
    "gather",
    "sample",
    "tensor_key",
    "to_float32",
    "use_backend",
    "words",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kept in the module, so that the next access does not come here: an import of what is imported already
    # takes 4 us, and each layer of a model in mode ``streamed`` would pay for nine.
    globals()[name] = found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
