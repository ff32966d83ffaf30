"""No progress bars of transformers while zobench reads a model: commands report their own progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import transformers


@contextmanager
def hidden_progress_bars() -> Iterator[None]:
    """Hide the bars within, then show them again if they were shown."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
