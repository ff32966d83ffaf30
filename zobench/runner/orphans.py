"""A process that ends when the one that started it does, so that a killed suite leaves none behind.

A thread that waits for the parent is not enough: it cannot run while compiled code holds the interpreter's
lock, or while the process waits for memory. On Linux the kernel ends the process.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends; exit now if ``parent`` (its
    process id) is not the parent any more. Does nothing outside Linux."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)
