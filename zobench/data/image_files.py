"""Images of a user's own data: PNG files named in a table, or the image column of a data set on the hub.

Only PNG files are read, because they are decoded to the same pixels by every library. Grey images keep one
channel, all others become RGB without transparency.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np

from zobench.data.image import Image

_GREY = ("1", "L", "LA")
_DEEP = ("I", "I;16", "I;16B", "I;16L", "F")


def read_png(path: Path) -> Image:
    """The image in a PNG file.

    Raises:
        ValueError: no such file, not a PNG file, more than 8 bits per channel, or damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    return _decoded(path.read_bytes(), str(path), formats=("PNG",))


def hub_image(value: Any, place: str) -> Image:
    """The image in a cell of a hub data set: a decoded image, or its file as ``{"bytes": ...}``.

    Raises:
        ValueError: the cell contains neither.
    """
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        return _decoded(value["bytes"], place, formats=None)
    pillow = _pillow()
    if not isinstance(value, pillow.Image):
        raise ValueError(f"{place}: {type(value).__name__} is not an image")
    return _converted(value, place)


def _decoded(body: bytes, place: str, formats: tuple[str, ...] | None) -> Image:
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(body), formats=formats) as opened:
            opened.load()
            return _converted(opened, place)
    except (OSError, SyntaxError, pillow.DecompressionBombError) as error:
        kind = "a PNG file" if formats else "an image file"
        raise ValueError(f"{place}: not {kind} that can be read ({error})") from error


def _converted(opened: Any, place: str) -> Image:
    if opened.mode in _DEEP:
        # The library's conversion of 16-bit values to 8 bits clips them at 255.
        raise ValueError(f"{place}: more than 8 bits per channel (mode {opened.mode}); save it with 8")
    return Image.of(np.asarray(opened.convert("L" if opened.mode in _GREY else "RGB")))


def _pillow() -> Any:
    if importlib.util.find_spec("PIL") is None:
        raise ValueError("image files are read with the package Pillow: pip install 'zobench[images]'")
    import PIL.Image

    return PIL.Image
