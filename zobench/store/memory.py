"""Running out of memory: how it shows in Python, and the message to the user.

Under a hard limit (``ulimit -v``, a job system) an allocation fails where it happens: as ``MemoryError``, as
an error of torch or of the loader of libraries, or as a thread that cannot be started.
"""

from __future__ import annotations

import resource

_SIGNS = (
    *("can't allocate memory", "Cannot allocate memory", "Unable to allocate", "out of memory"),
    *("failed to map segment", "can't start new thread", "malloc of size"),
)
"""Parts of the messages of torch, NumPy, the operating system, Python's threads and Arrow."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or its cause, means that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        told = isinstance(error, RuntimeError | OSError | ImportError)
        if told and any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__
    return False


def limit_sentence() -> str:
    """``"; the limit of this process is 1.5 GiB (ulimit -v)"``; empty without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return ""
    return f"; the limit of this process is {soft / 2**30:.3g} GiB (ulimit -v)"
