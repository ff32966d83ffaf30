"""The notification at the end of ``zobench run``: a command of the user gets a summary as JSON.

The command is an option or an environment variable and no key of a suite: a suite file may come from somebody
else, and reading it must not execute what it names. It is started without a shell, and names from data reach
it on its standard input only.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zobench.cli.console import say

if TYPE_CHECKING:
    from zobench.runner.scheduler import Summary

VARIABLE = "ZOBENCH_NOTIFY"
SECONDS = 60.0
"""Time limit of the command."""


def arguments(command: str) -> list[str]:
    """The command as arguments; ``ValueError``, before anything runs, if its program cannot be found."""
    try:
        found = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"--notify {command!r}: {error}") from error
    if not found or shutil.which(found[0]) is None:
        raise ValueError(f"--notify {command!r}: there is no program {found[0] if found else ''!r}")
    return found


def summary_of(suite: str, folder: Path, outcome: Summary) -> dict[str, Any]:
    """What the command is told."""
    return {
        "suite": suite,
        "folder": str(folder),
        "done": outcome.done,
        "kept": outcome.kept,
        "failed": [name for name, _ in outcome.failed],
        "not_measured": [name for name, _ in outcome.unmeasured],
        "interrupted": outcome.interrupted,
        "seconds": round(outcome.seconds, 1),
    }


def notify(command: list[str], summary: dict[str, Any]) -> bool:
    """Start the command with the summary as JSON on its standard input. Returns whether it succeeded; a
    failure is printed and changes nothing else."""
    try:
        done = subprocess.run(
            command,
            input=json.dumps(summary).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        told = f"took more than {SECONDS:g} seconds"
    except OSError as error:
        told = str(error)
    else:
        if done.returncode == 0:
            return True
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        told = ": ".join([f"exit code {done.returncode}", *last])
    say(f"not notified: {command[0]}: {told}", err=True)
    return False
