"""Images as part of an example: 8-bit pixels, their digest, and PNG files of them for pages.

Pixels stay 8-bit integers, so that an image has one digest and one picture on every machine; a model's
preprocessing converts them to floating-point numbers (:mod:`zobench.models.pixels`).
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

PICTURE_SIDE = 64
"""Longest side in pixels of the pictures that records and pages show."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}
"""Channels -> colour type of a PNG file: grey, RGB."""


@dataclass(frozen=True, slots=True)
class Image:
    """Attributes:
    pixels: ``height * width * channels`` bytes, row by row, the channels of a pixel together.
    shape: (height, width, channels); 1 channel is grey, 3 are RGB.
    """

    pixels: bytes
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        height, width, channels = self.shape
        if channels not in _COLOUR_TYPES:
            raise ValueError(f"an image has 1 or 3 channels, not {channels}")
        if min(height, width) < 1 or len(self.pixels) != height * width * channels:
            raise ValueError(f"{len(self.pixels)} bytes are not the pixels of an image of shape {self.shape}")

    @classmethod
    def of(cls, values: Any) -> Image:
        """An image from an array of shape (height, width) or (height, width, channels) with integers from 0
        to 255."""
        array = np.asarray(values)
        if array.dtype != np.uint8:
            rounded = array.astype(np.uint8)
            if not np.array_equal(rounded, array):
                raise ValueError(
                    f"pixels are whole numbers from 0 to 255, not {array.dtype} values such as "
                    f"{array.flat[0]}"
                )
            array = rounded
        height, width, channels = array.shape if array.ndim == 3 else (*array.shape, 1)
        return cls(np.ascontiguousarray(array).tobytes(), (height, width, channels))

    def array(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The pixels as a read-only array of shape (height, width, channels)."""
        return np.frombuffer(self.pixels, np.uint8).reshape(self.shape)

    def digest(self) -> str:
        """SHA-256 of shape and pixels."""
        return hashlib.sha256(f"{self.shape}|".encode() + self.pixels).hexdigest()

    def thumbnail(self, side: int) -> Image:
        """The image itself if no side is longer than ``side``, else every n-th pixel of every n-th row."""
        every = -(-max(self.shape[:2]) // side)
        return self if every == 1 else Image.of(self.array()[::every, ::every])

    def png(self) -> bytes:
        """The image as a PNG file; the same bytes on every machine with the same zlib."""
        height, width, channels = self.shape
        header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
        rows = self.array().reshape(height, width * channels)
        # Each row is preceded by its filter type; 0 is none.
        plain = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
        parts = [(b"IHDR", header), (b"IDAT", zlib.compress(plain, 9)), (b"IEND", b"")]
        return _SIGNATURE + b"".join(_chunk(kind, body) for kind, body in parts)

    def data_uri(self) -> str:
        """The PNG file as text that a page can contain."""
        return "data:image/png;base64," + base64.b64encode(self.png()).decode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
