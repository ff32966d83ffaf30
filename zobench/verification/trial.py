"""Reads a submission in a process of its own, with limits, before the process that verifies reads it.

The limits of :mod:`zobench.verification.submission` hold for the sizes that a file declares. A file made to
exhaust or crash the libraries that read these declarations ends the other process only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MOST_MEMORY = 8 * 2**30
"""Address space of the process in bytes."""
MOST_SECONDS = 300
"""Its processor time, and twice that by the clock."""
_READ = """\
import resource, sys
for kind, most in ((resource.RLIMIT_AS, int(sys.argv[2])), (resource.RLIMIT_CPU, int(sys.argv[3]))):
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, hard))
from zobench.verification.submission import read_submission
try:
    read_submission(sys.argv[1])
except (ValueError, FileNotFoundError):
    pass  # raised again, and reported, by the process that verifies
"""


def check_readable(path: Path) -> None:
    """Read the file in another process, whatever it says of the file's form.

    Raises:
        ValueError: the process exceeded a limit or crashed.
    """
    limits = f"{MOST_MEMORY / 2**30:.3g} GiB and {MOST_SECONDS} seconds of processor time"
    command = [sys.executable, "-c", _READ, str(path), str(MOST_MEMORY), str(MOST_SECONDS)]
    paths = os.pathsep.join(os.path.abspath(p) for p in sys.path)
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=2 * MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path}: reading it took more than {2 * MOST_SECONDS} seconds") from None
    if done.returncode != 0:
        raise ValueError(
            f"{path}: the process that read it ended with exit code {done.returncode}; it may use {limits}"
        )
