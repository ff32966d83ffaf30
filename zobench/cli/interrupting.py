"""Ctrl-C is answered at once, with one sentence that says what is kept."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STDERR = 2


class Answered(KeyboardInterrupt):
    """An interruption that was answered on the terminal already."""


@contextmanager
def answering(kept: str) -> Iterator[None]:
    """On Ctrl-C write ``kept`` to the terminal, then raise :class:`Answered`: an import that is stopped may
    take seconds to end.

    The terminal is the standard error output of now, whatever replaces it meanwhile.
    """
    terminal = os.dup(_STDERR)

    def handle(number: int, frame: FrameType | None) -> None:
        os.write(terminal, f"\n{kept}\n".encode())
        raise Answered

    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, handle) if ours else None
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
        os.close(terminal)
