"""Hides the progress bars of transformers while a model is loaded; zobench reports its own progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import transformers


@contextmanager
def hidden_progress_bars() -> Iterator[None]:
    """Hide the bars inside the block, and restore their earlier state afterwards."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
