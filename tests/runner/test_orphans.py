"""A worker ends with its parent, even while compiled code holds the interpreter's lock."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

CHILD = """
import os, re, sys
from zobench.runner.orphans import end_with
end_with(os.getppid())
print(os.getpid(), flush=True)
re.match(r"(a+)+$", "a" * 64 + "b")  # for years, and no other thread runs meanwhile
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help exists on Linux only")
def test_a_busy_process_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    gone = not alive(child)
    if not gone:
        os.kill(child, 9)
    assert gone, "the child goes on without its parent"
    parent.stdout.close()
