"""The plan of a suite for the commands that execute it: what libraries print meanwhile is kept, and Ctrl-C is
answered at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from zobench.cli.console import say

if TYPE_CHECKING:
    from zobench.suite.plan import Plan

_STDERR = 2
_STOPPED = b"\nstopped while planning: nothing was executed, and earlier results are kept.\n"


def planned(suite: str, *, verbose: bool) -> tuple[Plan, str]:
    """The plan of a suite, and what libraries printed meanwhile; with ``verbose`` that stays on the
    terminal."""
    say(f"planning {suite}: reading data, model files and plugins", err=True)
    from zobench.runner.library_log import heard

    with _answering(os.dup(_STDERR)):
        if verbose:
            return expanded(suite), ""
        with heard() as texts:
            plan = expanded(suite)
        return plan, texts[0]


def expanded(suite: str) -> Plan:
    """The plan of a suite by name or file."""
    from zobench.suite import expand, load

    return expand(load(suite))


@contextmanager
def _answering(terminal: int) -> Iterator[None]:
    """Answer Ctrl-C on ``terminal``, which is closed afterwards, before ``KeyboardInterrupt`` is raised: an
    import that is stopped may take seconds to end."""

    def handle(number: int, frame: FrameType | None) -> None:
        os.write(terminal, _STOPPED)
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, handle) if ours else None
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
        os.close(terminal)
