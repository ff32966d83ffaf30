"""What is watched during a run besides its training: the state of the process, and for rows with plugins
their standard output and whether they share the process with other rows.

Everything found becomes a warning of the run: ``process-state`` (restored afterwards), ``output``,
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
    """Text that is passed on to standard error; its beginning and length are kept. Standard output belongs to
    the command's own lines, or to whoever pipes them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.length = "", 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.first += text[: _SHOWN - len(self.first)]
        self.length += len(text)
        sys.stderr.write(text)
        return len(text)


class ProcessWatch:
    """Around one run: ``with ProcessWatch(spec, own_process=...) as watch``.

    Args:
        own_process: the process makes no other run.
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
        """What was found so far."""
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
