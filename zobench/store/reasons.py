"""The message of a recorded error: the column ``error`` of the runs table holds the traceback."""

from __future__ import annotations


def reason(error: str) -> str:
    """Type and message of the last exception of a traceback, with all lines of the message; a text without
    frames as it is."""
    lines = error.strip().splitlines()
    frames = [i for i, line in enumerate(lines) if line.startswith('  File "')]
    after = frames[-1] + 1 if frames else 0
    while frames and after < len(lines) and lines[after].startswith("    "):
        after += 1  # the source line of the frame, and what is marked in it
    if not frames and lines and lines[0].startswith("Traceback"):
        after = 1  # an exception raised by the interpreter itself has no frames
    message = "\n".join(lines[after:])
    return f"{message} (sys.exit was called)" if message.startswith("SystemExit") else message


def first_line(error: object) -> str:
    """The first line of :func:`reason`, and ``…`` if there are more; for one line per run."""
    first, _, rest = reason(error).partition("\n") if isinstance(error, str) else ("", "", "")
    return f"{first} …" if rest else first or "no error recorded"
