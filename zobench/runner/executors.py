"""What an executor is, and the simplest one: in this process, one run after the other.

An executor accepts jobs at any time and reports events about them; it never raises for what a run does. The
others are :class:`zobench.runner.pool.ProcessPool` and :class:`zobench.runner.ray_executor.RayExecutor`."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from zobench.runner.jobs import Job, Outcome

ExecutorKind = Literal["process", "inline", "ray"]
OnEvent = Callable[[str, dict[str, Any]], None]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Started:
    """A job was taken up."""

    job: Job


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is over."""

    job: Job
    outcome: Outcome


News = Started | Ended


class Executor(Protocol):
    """Runs jobs. Progress of a running job goes to the ``on_event`` that it was built with."""

    def submit(self, job: Job) -> None: ...

    def news(self) -> Iterator[News | None]:
        """What happens, until every submitted job is over; ``None`` now and then when nothing does."""
        ...

    def request_stop(self) -> None:
        """Let running jobs write a checkpoint and stop; waiting ones are dropped. Callable from a signal
        handler."""
        ...

    def close(self) -> None: ...

    def kill(self) -> None:
        """End everything at once; runs stay resumable."""
        ...


def set_threads(threads: int) -> None:
    """This many threads for every numeric library; to be called before torch is imported, and harmless
    after."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Inline:
    """Everything in this process; the numeric libraries get ``threads`` threads while it is open."""

    def __init__(self, runs: Path, parts: str, threads: int, on_event: OnEvent) -> None:
        import torch

        from zobench.runner.factory import load_parts
        from zobench.runner.process_cache import ProcessCache

        self._runs, self._on_event = runs, on_event
        self._bench = ProcessCache(load_parts(parts))
        self._waiting: deque[Job] = deque()
        self._stopping = False
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(threads)

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def news(self) -> Iterator[News | None]:
        from zobench.runner.execute import Control, run_one

        while self._waiting:
            job = self._waiting.popleft()
            yield Started(job)
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
