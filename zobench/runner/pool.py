"""Executor of warm worker processes that outlive their runs, and survive each other.

Each worker is a fresh interpreter that keeps torch, the models and the tokenized data. A worker that is
killed (the kernel's out-of-memory killer, a segmentation fault) takes only its own run with it: that run is
tried once more in a new worker, from its checkpoint, and then recorded as failed. Workers die with their
parent, so that a killed suite leaves no process behind to hold its locks.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from zobench.runner.executors import THREAD_VARIABLES, Ended, News, OnEvent, Started, set_threads
from zobench.runner.jobs import Job, Outcome

EVENT_SECONDS = 0.4


def worker_main(connection: Connection, runs: str, parts: str, threads: int, stop: Any) -> None:
    """Body of a worker: run jobs as they come until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    set_threads(threads)
    import torch

    from zobench.runner.execute import Control, run_one
    from zobench.runner.factory import load_parts
    from zobench.runner.process_cache import ProcessCache

    torch.set_num_threads(threads)
    bench = ProcessCache(load_parts(parts))
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        control = Control(
            Throttled(lambda event: _tell(connection, ("event", event))), lambda: bool(stop.value)
        )
        _tell(connection, ("end", run_one(job, Path(runs), bench, control)))


def _tell(connection: Connection, message: tuple[str, Any]) -> None:
    """Send to the parent; without one there is nobody to work for (and the run must not be called failed)."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)


class Throttled:
    """Passes on events at most every ``EVENT_SECONDS``, merged; those with a metric at once."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._waiting: dict[str, Any] = {}
        self._last = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        self._waiting.update(event)
        now = time.monotonic()
        if "metric" in event or now - self._last >= EVENT_SECONDS:
            self._send(self._waiting)
            self._waiting, self._last = {}, now


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None


class ProcessPool:
    """Warm workers. ``submit`` jobs at any time; ``news`` yields what happens until all submitted jobs are
    over."""

    def __init__(self, runs: Path, parts: str, workers: int, threads: int, on_event: OnEvent) -> None:
        self._context = multiprocessing.get_context("spawn")
        # Without a lock: a worker killed while it holds one would hang all the others.
        self._stop = self._context.RawValue("b", 0)
        self._on_event = on_event
        self._runs, self._parts, self._threads, self._size = runs, parts, threads, workers
        self._workers: list[_Worker] = []
        self._waiting: deque[Job] = deque()
        self._retried: set[str] = set()

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def request_stop(self) -> None:
        """Let running jobs write a checkpoint and stop; waiting ones are dropped."""
        self._waiting.clear()
        self._stop.value = 1

    def news(self, timeout: float = 0.5) -> Iterator[News | None]:
        """Everything that happens, and ``None`` when nothing did for ``timeout`` seconds."""
        while True:
            yield from self._dispatch()
            busy = [w for w in self._workers if w.job is not None]
            if not busy:
                return
            ready = wait([w.connection for w in busy], timeout)
            for worker in [w for w in busy if w.connection in ready]:
                yield from self._receive(worker)
            if not ready:
                yield None

    def close(self) -> None:
        """Shut down the workers; those that do not go are killed."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def kill(self) -> None:
        """End all workers at once; their runs stay resumable."""
        for worker in self._workers:
            worker.process.kill()
        self.close()

    def _dispatch(self) -> Iterator[News]:
        while self._waiting:
            worker = next((w for w in self._workers if w.job is None), None)
            if worker is None:
                if len(self._workers) >= self._size:
                    return
                worker = self._hire()
            worker.job = self._waiting.popleft()
            try:
                worker.connection.send(worker.job)
            except OSError:
                self._waiting.appendleft(worker.job)
                worker.job = None
                self._dismiss(worker)
                continue
            yield Started(worker.job)

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, str(self._runs), self._parts, self._threads, self._stop)
        process = self._context.Process(target=worker_main, args=arguments, daemon=True)
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        set_threads(self._threads)  # the child imports numeric libraries before it reaches its own first line
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: _Worker) -> Iterator[News]:
        assert worker.job is not None
        try:
            kind, body = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._lost(worker)
            return
        if kind == "event":
            self._on_event(worker.job.key, body)
            return
        job, worker.job = worker.job, None
        yield Ended(job, body)

    def _lost(self, worker: _Worker) -> Iterator[News]:
        """A worker died under its job."""
        job = worker.job
        assert job is not None
        code = self._dismiss(worker)
        if self._stop.value:
            yield Ended(job, Outcome("", "interrupted", error="its worker ended"))
        elif job.key not in self._retried:
            self._retried.add(job.key)
            self._waiting.appendleft(job)
        else:
            yield Ended(job, Outcome("", "failed", error=f"its worker died twice (exit code {code})"))

    def _dismiss(self, worker: _Worker) -> int | None:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(timeout=5)
        return worker.process.exitcode
