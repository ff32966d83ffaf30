"""Several calls that take turns: each runs up to its next stop, then the next one runs.

A stop is a call of ``arrive`` (a layer whose forward starts). If every call makes the same stops, all of them
reach a stop before any of them leaves it, so that what is loaded there serves them all. Exactly one call runs
at a time. The calls are threads, because they run arbitrary code between their stops.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch


class _Stopped(BaseException):
    """Ends a call because another one raised."""


@dataclass
class _Call:
    make: Callable[[], float]
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    value: float = 0.0
    error: BaseException | None = None
    done: bool = False


class Turns:
    """Runs calls in turns; one object serves one ``run`` at a time."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._own = threading.local()
        self._failed = False

    def run(self, makes: Sequence[Callable[[], float]]) -> list[float]:
        """The values of the calls, in order. The first runs in the caller's thread.

        If one raises, the others end at their next stop, and its error is raised.
        """
        if len(makes) == 1:
            return [makes[0]()]
        self._calls, self._failed = [_Call(make) for make in makes], False
        threads_of_torch = torch.get_num_threads()
        threads = [
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._body, call, threads_of_torch),
                daemon=True,
            )
            for call in self._calls[1:]
        ]
        for thread in threads:
            thread.start()
        calls = self._calls
        try:
            self._body(calls[0], threads_of_torch, first=True)
            for thread in threads:
                thread.join()
        finally:
            self._calls = []
        for call in calls:
            if call.error is not None:
                raise call.error
        return [call.value for call in calls]

    @property
    def busy(self) -> bool:
        """Whether several calls are running."""
        return bool(self._calls)

    def arrive(self) -> None:
        """Let the other calls reach this stop; returns when it is this call's turn again."""
        call: _Call | None = getattr(self._own, "call", None)
        following = None if call is None else self._following(call)
        if call is None or following is None:
            return
        following.turn.release()
        try:
            call.turn.acquire()
        except BaseException:
            # An interrupt. Another call is running: this one may end only when its turn has come.
            self._failed = True
            call.turn.acquire()
            raise
        if self._failed:
            raise _Stopped

    def _body(self, call: _Call, threads_of_torch: int, *, first: bool = False) -> None:
        if not first:
            call.turn.acquire()
            # A new thread of the system may have another number; the bits of products depend on it.
            if torch.get_num_threads() != threads_of_torch:
                torch.set_num_threads(threads_of_torch)
        self._own.call = call
        try:
            if not self._failed:
                call.value = call.make()
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by ``run``
            call.error, self._failed = error, True
        finally:
            self._own.call = None
            call.done = True
            following = self._following(call)
            if following is not None:
                following.turn.release()

    def _following(self, call: _Call) -> _Call | None:
        """The next call that has not ended, in cyclic order; ``None`` if no other is left."""
        at = self._calls.index(call)
        rest = [*self._calls[at + 1 :], *self._calls[:at]]
        return next((other for other in rest if not other.done), None)
