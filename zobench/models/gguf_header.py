"""The header of a GGUF file, read without loading tensors.

Layout (GGUF versions 2 and 3, little-endian): magic, version, number of tensors, number of keys; the keys
with typed values; for each tensor its name, shape, type and offset. Every length is compared with the rest
of the file before it is used, so a damaged length ends in an error and not in a long loop.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type number of a value -> its struct code; 8 is a string, 9 an array."""
STRING, ARRAY = 8, 9
VERSIONS = (2, 3)
LONGEST_NAME = 1 << 16
MOST_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of the file.

    ``shape`` is in GGUF's order (fastest axis first), ``kind`` is the number of the quantization type,
    ``offset`` is in bytes from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """Attributes:
    keys: metadata by key; long arrays (more than 64 values) are given as their length.
    tensors: every tensor of the file.
    data_start: start of the data section, in bytes.
    size: size of the file, in bytes.
    """

    keys: dict[str, Any]
    tensors: tuple[TensorEntry, ...]
    data_start: int
    size: int


def read_header(file: Path) -> GGUFHeader:
    """The header of a GGUF file.

    Raises:
        ValueError: the file does not exist, is not GGUF, has an unsupported version, or its header is
            incomplete or damaged.
    """
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    size = file.stat().st_size
    with file.open("rb") as opened:
        try:
            return _Reader(opened, size).header()
        except (struct.error, UnicodeDecodeError, _Damaged) as error:
            raise ValueError(f"{file}: its GGUF header is damaged or cut off ({error})") from error
        except _Foreign as error:
            raise ValueError(f"{file}: {error}") from error


class _Damaged(Exception):
    """The header contains an impossible length or type."""


class _Foreign(Exception):
    """The file has a format or version that this module cannot read."""


class _Reader:
    def __init__(self, opened: BinaryIO, size: int) -> None:
        self._opened, self._size = opened, size

    def header(self) -> GGUFHeader:
        if self._opened.read(4) != b"GGUF":
            raise _Foreign("not a GGUF file (its first four bytes are not 'GGUF')")
        (version,) = self._unpack("I")
        if version not in VERSIONS:
            raise _Foreign(f"GGUF version {version}; only versions 2 and 3 (little-endian) can be read")
        tensors, keys = self._unpack("QQ")
        # A key takes at least 13 bytes and a tensor 24, so larger counts are impossible.
        self._fits(tensors * 24 + keys * 13)
        found = dict(self._pair() for _ in range(keys))
        entries = tuple(self._tensor() for _ in range(tensors))
        alignment = int(found.get("general.alignment", 32))
        if alignment < 1:
            raise _Damaged(f"alignment {alignment}")
        start = -(-self._opened.tell() // alignment) * alignment
        return GGUFHeader(found, entries, start, self._size)

    def _pair(self) -> tuple[str, Any]:
        return self._string(LONGEST_NAME), self._value(self._unpack("I")[0])

    def _tensor(self) -> TensorEntry:
        name = self._string(LONGEST_NAME)
        (dimensions,) = self._unpack("I")
        if dimensions > MOST_DIMENSIONS:
            raise _Damaged(f"tensor {name!r} with {dimensions} axes")
        shape = self._unpack("Q" * dimensions)
        kind, offset = self._unpack("IQ")
        return TensorEntry(name, tuple(shape), kind, offset)

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string(self._size)
        if kind == ARRAY:
            return self._array()
        if kind not in SCALARS:
            raise _Damaged(f"value of unknown type {kind}")
        return self._unpack(SCALARS[kind])[0]

    def _array(self) -> Any:
        kind, length = self._unpack("IQ")
        if kind == STRING:
            self._fits(length * 8)
            values: list[Any] = [self._string(self._size) for _ in range(length)]
        elif kind in SCALARS:
            width = struct.calcsize("<" + SCALARS[kind])
            self._fits(length * width)
            if length > 64:
                self._opened.seek(length * width, 1)
                return length
            values = list(self._unpack(SCALARS[kind] * length))
        else:
            raise _Damaged(f"array of type {kind}")
        return values if length <= 64 else length

    def _string(self, longest: int) -> str:
        (length,) = self._unpack("Q")
        if length > longest:
            raise _Damaged(f"a text of {length} bytes")
        self._fits(length)
        return self._opened.read(length).decode("utf-8")

    def _unpack(self, codes: str) -> tuple[Any, ...]:
        layout = struct.Struct("<" + codes)
        return layout.unpack(self._opened.read(layout.size))

    def _fits(self, wanted: int) -> None:
        if wanted > self._size - self._opened.tell():
            raise _Damaged("a length goes beyond the end of the file")
