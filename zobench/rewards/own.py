"""Rewards in a Python file of the user: ``reward.py:score``.

``score(prompt, answer, example)`` returns a number; ``example`` is a dictionary with ``id``, ``text`` (the
fields by name), ``answer`` and ``meta``, and ``params`` of the suite are passed as keyword arguments. The
file runs in a process of its own (:mod:`.worker`), so that an answer on which it hangs can be stopped at the
time limit. The SHA-256 of the file is part of a run's identity, its path is not. Planning a suite does not
import the file; its function is found in its syntax tree.
"""

from __future__ import annotations

import ast
import hashlib
import json
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zobench.names import nearest
from zobench.rewards.base import Answered, Reward, Score, checked

STARTING_SECONDS = 60.0
"""Time limit of importing the file."""


def is_file(name: str) -> bool:
    """Whether a reward's name is a function in a file, ``FILE.py:FUNCTION``."""
    return name.partition(":")[0].endswith(".py")


def digest_of(file: Path) -> str:
    """SHA-256 of the file; ``ValueError`` if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"no file {str(file)!r} ({error.strerror})") from error


def check_function(file: Path, function: str) -> None:
    """``ValueError`` unless the file defines the function; the file is parsed, not run."""
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{file}: not valid Python: {error}") from error
    except (RecursionError, MemoryError) as error:  # of Python's parser, whatever memory there is
        raise ValueError(f"{file}: nested too deeply for Python's parser") from error
    known = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in known:
        has = nearest(function, known) or (
            f"; it defines {', '.join(known)}" if known else "; it defines none"
        )
        raise ValueError(f"{file} defines no function {function!r}{has}")


class OwnReward(Reward):
    """A function of a file, called in a process of its own.

    Args:
        file: the Python file.
        function: name of the function.
        sha256: digest that the file must have.
        params: keyword arguments of the function.
        seconds: time limit of one score. The process is stopped when it is exceeded, and a new one is
            started for the next answer.

    Raises:
        ValueError: the file is missing or has another digest.
    """

    def __init__(
        self, file: Path, function: str, sha256: str, params: Mapping[str, Any], seconds: float
    ) -> None:
        super().__init__(None)
        self._file, self._function, self._sha256 = file, function, sha256
        self._params, self._seconds = dict(params), seconds
        self._worker: _Worker | None = None
        self._check_digest()

    def _check_digest(self) -> None:
        if (found := digest_of(self._file)) != self._sha256:
            raise ValueError(
                f"{self._file} has changed since the run was planned: its SHA-256 is {found[:16]}..., not "
                f"{self._sha256[:16]}..."
            )

    def score(self, one: Answered) -> float:
        return self.scored(one).value

    def scores(self, answered: Any) -> list[Score]:
        return [self.scored(one) for one in answered]

    def scored(self, one: Answered) -> Score:
        """The score of one answer by the user's function."""
        if self._worker is None:
            self._check_digest()
            self._worker = _Worker(self._file, self._function)
        example = one.example
        asked = {
            "prompt": one.prompt,
            "answer": one.answer,
            "example": {
                "id": example.id,
                "text": dict(example.text),
                "answer": example.answer,
                "meta": dict(example.meta),
            },
            "params": self._params,
        }
        told = self._worker.ask(asked, self._seconds)
        if told is None:
            self._worker.stop()
            self._worker = None
            return Score(0.0, f"no score after {self._seconds:g} s, or its process ended")
        return Score(0.0, told["error"]) if "error" in told else checked(told["value"])


class _Worker:
    """The process that calls the function; it ends with this object.

    Raises:
        ValueError: importing the file fails or takes too long.
    """

    def __init__(self, file: Path, function: str) -> None:
        command = [sys.executable, "-m", "zobench.rewards.worker", str(file), function]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()
        self.stop = weakref.finalize(self, _end, self._process)
        ready = self._line(STARTING_SECONDS)
        if ready is None or "error" in ready:
            self.stop()
            why = f"no answer after {STARTING_SECONDS:g} s" if ready is None else ready["error"]
            raise ValueError(f"{file} cannot be imported: {why}")

    def ask(self, asked: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The worker's answer; ``None`` if it gives none in time or has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked, default=str) + "\n")
            self._process.stdin.flush()
        except OSError:
            return None
        return self._line(seconds)

    def _line(self, seconds: float) -> dict[str, Any] | None:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        told: dict[str, Any] | None = json.loads(line) if line else None
        return told


def _read(stream: Any, lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")  # the process has ended


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.wait()
