"""Monitors side effects of a run: changes of the process state, and for runs with plugins also text on
standard output and a process shared with other runs.

Each finding becomes a warning of the run: ``process-state`` (the state is restored afterwards), ``output`` or
``shared-process``.
"""

from __future__ import annotations

import contextlib
import io
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from zobench.names import printable
from zobench.plugin_code import uses_plugins
from zobench.runner.process_state import WARNING, ProcessState
from zobench.zo.sanity_checks import Trap

if TYPE_CHECKING:
    from zobench.spec import RunSpec

_SHOWN = 80


class Heard(io.TextIOBase):
    """Stream that passes text to standard error and keeps its beginning and length. Standard output is
    reserved for the command's own lines, which may be piped to another program."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.length = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.first += text[: _SHOWN - len(self.first)]
        self.length += len(text)
        sys.stderr.write(printable(text, lines=True))
        return len(text)


class ProcessWatch:
    """Context manager around one run: ``with ProcessWatch(spec, own_process=...) as watch``.

    Args:
        own_process: whether the process executes no other run.
    """

    def __init__(self, spec: RunSpec, *, own_process: bool) -> None:
        self._plugins = uses_plugins(spec)
        self._shared = self._plugins and not own_process
        self._state = ProcessState.now()
        self._heard = Heard()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ProcessWatch:
        self._stack.callback(self._state.restore)
        if self._plugins:
            self._stack.enter_context(contextlib.redirect_stdout(self._heard))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def traps(self) -> list[Trap]:
        """The warnings so far."""
        found = {}
        if changed := self._state.changes():
            found[WARNING] = "; ".join(changed)
        if self._heard.length:
            first = printable(self._heard.first.strip().partition("\n")[0])
            found["output"] = f"{self._heard.length} characters on standard output: {first!r}"
        if self._shared:
            found["shared-process"] = (
                "a row with plugins ran in the process of other rows (executor inline): what it patches "
                "reaches them"
            )
        return [Trap(name, detail, 1, -1) for name, detail in found.items()]
