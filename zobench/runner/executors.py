"""The interface of executors, and the simplest one, which executes runs one after the other in this process.

An executor accepts jobs at any time and reports events about them. It does not raise errors of runs. The
others are :class:`zobench.runner.pool.ProcessPool` and :class:`zobench.runner.ray_executor.RayExecutor`."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from zobench.runner.jobs import Job, Outcome, describe
from zobench.runner.library_log import note_run

ExecutorKind = Literal["process", "inline", "ray"]
OnEvent = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Started:
    """A job has started."""

    job: Job


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has ended."""

    job: Job
    outcome: Outcome


News = Started | Ended


class Executor(Protocol):
    """Executes jobs. Events of a running job go to the callback ``on_event`` given at construction."""

    def submit(self, job: Job) -> None: ...

    def news(self) -> Iterator[News | None]:
        """Events until all submitted jobs have ended. Yields ``None`` from time to time if there are none, so
        that the caller keeps control."""
        ...

    def request_stop(self) -> None:
        """Let running jobs write a checkpoint and stop, and drop waiting ones. May be called from a signal
        handler."""
        ...

    def close(self) -> None: ...

    def kill(self) -> None:
        """Terminate all jobs at once; their runs can be resumed."""
        ...


class Inline:
    """Executes jobs in this process; torch uses ``threads`` threads while the executor is open. Runs with
    plugins are executed after the others, and their warnings state that they shared the process. ``titled``:
    standard error is redirected to a log, so the name of each run is written to it."""

    def __init__(
        self, runs: Path, parts: str, threads: int, on_event: OnEvent, *, titled: bool = False
    ) -> None:
        import torch

        from zobench.runner.factory import load_parts
        from zobench.runner.process_cache import ProcessCache

        self._runs, self._on_event, self._titled = runs, on_event, titled
        self._bench = ProcessCache(load_parts(parts), own_code=True)
        self._waiting: deque[Job] = deque()
        self._stopping = False
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(threads)

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def news(self) -> Iterator[News | None]:
        from zobench.runner.execute import Control, run_one

        while self._waiting:
            job = next((j for j in self._waiting if not j.alone), self._waiting[0])
            self._waiting.remove(job)
            yield Started(job)
            if self._titled:
                note_run(describe(job, model=True))
            listener = functools.partial(self._on_event, job.key)
            control = Control(listener, lambda: self._stopping)
            yield Ended(job, run_one(job, self._runs, self._bench, control))

    def request_stop(self) -> None:
        self._waiting.clear()
        self._stopping = True

    def close(self) -> None:
        import torch

        torch.set_num_threads(self._threads_before)

    def kill(self) -> None:
        self.close()
