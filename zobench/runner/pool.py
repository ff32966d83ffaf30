"""Executor with a pool of worker processes, each of which executes many runs.

Each worker is a new interpreter that keeps torch, the models and the tokenized data in memory. If a worker is
killed (the kernel's out-of-memory killer, a segmentation fault), only its current run is affected: it is
tried once more in a new worker, from its checkpoint, and then recorded as failed. Workers exit when their
parent does, so that a killed suite leaves no process that holds its locks.

A job with plugins gets a new worker that is not used again, so that changes by the plugin's code do not
affect other runs. A worker that exceeds the job's time limit for a run or a step is killed, and the run is
``interrupted``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from zobench.runner import orphans
from zobench.runner.executors import Ended, News, OnEvent, Started
from zobench.runner.jobs import Job, Outcome, describe, time_limit
from zobench.runner.library_log import LibraryLog, note_run, redirected
from zobench.runner.threads import THREAD_VARIABLES, set_threads
from zobench.store.memory import limit_sentence

EVENT_SECONDS = 0.4
STOPPING_SECONDS = 60.0


def worker_main(
    connection: Connection, runs: str, parts: str, threads: int, stop: Any, stepping: Any, log: Path | None
) -> None:
    """Main function of a worker: execute jobs from the connection until it closes. ``log``: file for what it
    prints."""
    with nullcontext() if log is None else redirected(log, output=True):
        _work(connection, runs, parts, threads, stop, stepping, titled=log is not None)


def _work(
    connection: Connection, runs: str, parts: str, threads: int, stop: Any, stepping: Any, *, titled: bool
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    _die_with_parent()
    set_threads(threads)
    import torch

    from zobench.runner.execute import Control, run_one
    from zobench.runner.factory import load_parts
    from zobench.runner.process_cache import ProcessCache
    from zobench.terminal import guard_warnings

    guard_warnings()
    torch.set_num_threads(threads)
    bench = ProcessCache(load_parts(parts), own_code=True)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        if titled:
            note_run(describe(job, model=True))
        events = Throttled(lambda event: _tell(connection, ("event", event)))
        control = Control(_clocked(events, stepping), lambda: bool(stop.value), job.alone)
        _tell(connection, ("end", run_one(job, Path(runs), bench, control)))


def _clocked(listener: Callable[[dict[str, Any]], None], stepping: Any) -> Callable[[dict[str, Any]], None]:
    """A listener that passes events to ``listener``, except for the start and end of a step: at the start,
    ``stepping`` is set to the current time, and at the end to 0."""

    def hear(event: dict[str, Any]) -> None:
        if "stepping" in event:
            stepping.value = time.monotonic() if event["stepping"] else 0.0
        else:
            listener(event)

    return hear


def _tell(connection: Connection, message: tuple[str, Any]) -> None:
    """Send to the parent process. If it no longer exists, exit without recording the run as failed."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)


class Throttled:
    """Passes on events, merged, at most once in ``EVENT_SECONDS``; events with a metric, or with what is
    being done, immediately."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._waiting: dict[str, Any] = {}
        self._last = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        self._waiting.update(event)
        now = time.monotonic()
        if event.keys() & {"metric", "doing"} or now - self._last >= EVENT_SECONDS:
            self._send(self._waiting)
            self._waiting, self._last = {}, now


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)  # sys.exit in a thread would end only the thread

    threading.Thread(target=watch, daemon=True).start()
    if parent.pid is not None:
        orphans.end_with(parent.pid)


def _cause(code: int | None) -> str:
    """Exit code of a worker, and what it means."""
    told = f"exit code {code}"
    if code is None:
        return told
    if code >= 0:
        return f"{told}: code of the run ended the process with os._exit"
    told = f"{told}: {signal.Signals(-code).name}" if -code in set(signal.Signals) else told
    if -code == signal.SIGKILL:
        return f"{told}, with which the system ends processes when memory runs out{limit_sentence()}"
    return f"{told}, an abort inside a library{limit_sentence()}"


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    stepping: Any
    job: Job | None = None
    since: float = 0.0
    spent: bool = False

    def overdue(self) -> str:
        """Message with the time limit that the job exceeds; empty if none. A run stops by itself between two
        steps; it has the time limit of a step, but at most a minute, to do so."""
        assert self.job is not None
        now, begun, job = time.monotonic(), self.stepping.value, self.job
        if begun and now - begun > job.step_seconds:
            return time_limit("a step", "step_minutes", job.step_seconds)
        if now - self.since > job.run_seconds + min(job.step_seconds, STOPPING_SECONDS):
            return time_limit("the run", "run_minutes", job.run_seconds)
        return ""


class ProcessPool:
    """A pool of workers. ``submit`` accepts jobs at any time; ``news`` yields events until all submitted jobs
    have ended."""

    def __init__(
        self,
        runs: Path,
        parts: str,
        workers: int,
        threads: int,
        on_event: OnEvent,
        log: LibraryLog | None = None,
    ) -> None:
        # Not "fork": torch's threads and CUDA contexts do not survive it.
        self._context = multiprocessing.get_context("spawn")
        # Without a lock: a worker killed while it holds one would block all others forever.
        self._stop = self._context.RawValue("b", 0)
        self._on_event, self._log = on_event, log
        self._runs, self._parts, self._threads, self._size = runs, parts, threads, workers
        self._workers: list[_Worker] = []
        self._waiting: deque[Job] = deque()
        self._retried: set[str] = set()

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def request_stop(self) -> None:
        """Let running jobs write a checkpoint and stop; drop waiting ones."""
        self._waiting.clear()
        self._stop.value = 1

    def news(self, timeout: float = 0.5) -> Iterator[News | None]:
        """Events of the jobs, and ``None`` after ``timeout`` seconds without one."""
        while True:
            yield from self._dispatch()
            busy = [w for w in self._workers if w.job is not None]
            if not busy:
                return
            ready = wait([w.connection for w in busy], timeout)
            for worker in [w for w in busy if w.connection in ready]:
                yield from self._receive(worker)
            yield from self._stop_late()
            if not ready:
                yield None

    def close(self) -> None:
        """Shut down the workers; kill any that do not exit within 5 s."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def kill(self) -> None:
        """Kill all workers at once; their runs can be resumed."""
        for worker in self._workers:
            worker.process.kill()
        self.close()

    def _dispatch(self) -> Iterator[News]:
        while self._waiting:
            job = self._waiting[0]
            worker = next((w for w in self._workers if w.job is None), None)
            if worker is not None:  # an idle worker takes a job that can share it before new workers start
                job = next((j for j in self._waiting if not j.alone), job)
                if job.alone and len(self._workers) >= self._size:
                    self._dismiss(worker)
            if worker is None or job.alone:
                if len(self._workers) >= self._size:
                    return
                worker = self._hire()
            self._waiting.remove(job)
            worker.job, worker.since, worker.spent = job, time.monotonic(), job.alone
            try:
                worker.connection.send(worker.job)
            except OSError:  # the worker died while idle: give its job to another
                self._waiting.appendleft(worker.job)
                worker.job = None
                self._dismiss(worker)
                continue
            yield Started(worker.job)

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        stepping = self._context.RawValue("d", 0.0)
        log = None if self._log is None else self._log.part()
        arguments = (theirs, str(self._runs), self._parts, self._threads, self._stop, stepping, log)
        process = self._context.Process(target=worker_main, args=arguments, daemon=True)
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        # In the environment that the child inherits: it imports numeric libraries before worker_main starts.
        set_threads(self._threads)
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        theirs.close()  # else receiving from a dead worker would wait forever instead of raising EOFError
        worker = _Worker(process, ours, stepping)
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
        if worker.spent:
            self._dismiss(worker)
        yield Ended(job, body)

    def _stop_late(self) -> Iterator[News]:
        """Kill workers whose job exceeds a time limit."""
        for worker in [w for w in self._workers if w.job is not None]:
            if reason := worker.overdue():
                job = worker.job
                assert job is not None
                worker.process.kill()
                self._dismiss(worker)
                yield Ended(job, Outcome("", "interrupted", error=reason))

    def _lost(self, worker: _Worker) -> Iterator[News]:
        """Handle the death of a worker during its job: try the job once more, or report it as failed."""
        job = worker.job
        assert job is not None
        code = self._dismiss(worker)
        if self._stop.value:
            yield Ended(job, Outcome("", "interrupted", error="its worker ended"))
        elif job.key not in self._retried:
            self._retried.add(job.key)
            self._waiting.appendleft(replace(job, lost=True))
        else:
            yield Ended(job, Outcome("", "failed", error=f"its worker died twice ({_cause(code)})"))

    def _dismiss(self, worker: _Worker) -> int | None:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(timeout=5)
        return worker.process.exitcode
