"""Executor on a Ray cluster: remote tasks of one run or several; all write to one shared results folder.

Ray is an optional extra (``pip install 'zobench[ray]'``). A local cluster is started unless an address is
given (``executor: {address: ...}``, or ``RAY_ADDRESS``). Short runs are grouped: a task gets as many as take
about ``GROUP_SECONDS`` together, by the median of the latest runs, so that the time between tasks stays a
small share. If a worker or its node is lost, each run of its task is submitted again, in a task of its own,
and resumes from its checkpoint.
"""

from __future__ import annotations

import math
import os
import socket
import statistics
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zobench.runner.executors import Ended, News, Started
from zobench.runner.jobs import Job, Outcome, describe
from zobench.runner.library_log import LibraryLog, note_run, redirected
from zobench.runner.threads import set_threads
from zobench.store.reasons import reason

GROUP_SECONDS = 5.0
MOST_LOSSES = 3
"""A run whose worker was lost so often is recorded as failed."""
_LOOK_SECONDS = 1.0
_LATEST = 16
_REACHED_SECONDS = 10.0


def remote_runs(
    jobs: Sequence[Job], runs: str, parts: str, threads: int, stop: str, log: Path | None
) -> tuple[bool, list[tuple[Outcome, float]]]:
    """Executes runs as a Ray task; whether it was the first in its process, and the outcome and seconds of
    each. Ray reuses workers, so models and data stay loaded between tasks.

    Args:
        stop: file that asks running tasks to stop with a checkpoint.
        log: file for what the task prints.
    """
    with nullcontext() if log is None else redirected(log, output=True):
        return _runs(jobs, runs, parts, threads, stop, titled=log is not None)


def _runs(
    jobs: Sequence[Job], runs: str, parts: str, threads: int, stop: str, *, titled: bool
) -> tuple[bool, list[tuple[Outcome, float]]]:
    from zobench.runner.execute import Control, run_one

    set_threads(threads)
    import torch

    torch.set_num_threads(threads)
    found, first = [], parts not in _BENCHES
    for job in jobs:
        started = time.monotonic()
        if titled:
            note_run(describe(job, model=True))
        control = Control(should_stop=_asked(Path(stop)), own_process=job.alone)
        found.append((run_one(job, Path(runs), _bench(parts), control), time.monotonic() - started))
    return first, found


def _asked(stop: Path) -> Callable[[], bool]:
    """Whether the file exists, looked up once a second."""
    seen, last = False, -math.inf

    def asked() -> bool:
        nonlocal seen, last
        if not seen and time.monotonic() - last >= _LOOK_SECONDS:
            seen, last = stop.exists(), time.monotonic()
        return seen

    return asked


def _bench(parts: str) -> Any:
    from zobench.runner.factory import load_parts
    from zobench.runner.process_cache import ProcessCache

    if parts not in _BENCHES:
        _BENCHES[parts] = ProcessCache(load_parts(parts), own_code=True)
    return _BENCHES[parts]


_BENCHES: dict[str, Any] = {}


def group_size(usual: float | None, waiting: int, slots: int) -> int:
    """Number of runs in the next task.

    Args:
        usual: seconds of a usual run; ``None``: no run has ended, so that runs go one by one.
        waiting: number of runs that wait.
        slots: number of tasks at a time; each gets its share of the runs that wait.
    """
    if usual is None:
        return 1
    return max(1, min(math.ceil(GROUP_SECONDS / max(usual, 1e-3)), math.ceil(waiting / slots)))


@dataclass
class Shares:
    """Time of the tasks so far, without the first in each process, which loads libraries and the model.

    Attributes:
        first: seconds of these first tasks.
        total: seconds from submitting a task until its result, summed over tasks.
        running: seconds of these in which runs were executed.
        tasks, runs: their numbers.
    """

    first: float = 0.0
    total: float = 0.0
    running: float = 0.0
    tasks: int = 0
    runs: int = 0

    @property
    def scheduling(self) -> float:
        """Share of the time in which no run was executed."""
        return 1 - self.running / self.total if self.total else math.nan

    def add(self, total: float, runs: Sequence[float], first: bool) -> None:
        if first:
            self.first += total
            return
        self.total += total
        self.running += sum(runs)
        self.tasks += 1
        self.runs += len(runs)


@dataclass(frozen=True)
class _Group:
    jobs: tuple[Job, ...]
    since: float


class RayExecutor:
    """Executes runs as tasks of a Ray cluster. A task on a CUDA device gets ``gpus`` of a GPU, others none.

    Args:
        workers: number of tasks at a time; ``None``: as many as the cluster has processors or GPUs for.
        address: of an existing cluster (``auto``: the one on this machine); ``None``: ``RAY_ADDRESS``, else a
            local cluster is started.
        gpus: GPUs of a task, a fraction if several share one.
        log: where the tasks write what they print, each to a file of its own.

    Attributes:
        shares: time of the tasks, for measurements of scheduling.
    """

    def __init__(
        self,
        runs: Path,
        parts: str,
        workers: int | None,
        threads: int,
        address: str | None,
        gpus: float = 1,
        log: LibraryLog | None = None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError("executor 'ray' needs Ray: pip install 'zobench[ray]'") from error
        self._ray = ray
        self._runs, self._parts, self._threads, self._gpus = str(runs.resolve()), parts, threads, gpus
        self._stop = str(runs.resolve() / f".stop-{uuid.uuid4().hex}")
        if not ray.is_initialized():
            _join(ray, address, workers, threads)
        self._asked, self._log = workers, log
        self._waiting: deque[Job] = deque()
        self._running: dict[Any, _Group] = {}
        self._losses: Counter[str] = Counter()
        self._latest: deque[float] = deque(maxlen=_LATEST)
        self.shares = Shares()

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def news(self) -> Iterator[News | None]:
        while self._waiting or self._running:
            while self._waiting and len(self._running) < (slots := self._slots()):
                yield from self._start(slots)
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=0.5)
            for reference in ready:
                yield from self._end(reference)
            if not ready:
                yield None

    def request_stop(self) -> None:
        """Let running runs write a checkpoint and stop, and drop waiting ones."""
        self._waiting.clear()
        Path(self._stop).touch()

    def close(self) -> None:
        Path(self._stop).unlink(missing_ok=True)
        self._ray.shutdown()

    def kill(self) -> None:
        self._waiting.clear()
        for reference in list(self._running):
            self._ray.cancel(reference, force=True)
        self.close()

    def options(self, job: Job) -> dict[str, Any]:
        """Resources of the job's task. Ray does not retry it: this class does, run by run."""
        cuda = job.planned.spec.model.device.startswith("cuda")
        calls = {"max_calls": 1} if job.alone else {}  # its process exits after the task
        processors = self._threads * job.processes
        return {"num_cpus": processors, "num_gpus": self._gpus if cuda else 0, "max_retries": 0, **calls}

    def _usual(self) -> float | None:
        # The median: the first run in each process takes much longer, because it loads the model.
        return statistics.median(self._latest) if self._latest else None

    def _slots(self) -> int:
        if self._asked is not None:
            return self._asked
        there = self._ray.cluster_resources()
        wanted = self.options(self._waiting[0])
        fits = [there.get("CPU", 0) / wanted["num_cpus"]]
        if wanted["num_gpus"]:
            fits.append(there.get("GPU", 0) / wanted["num_gpus"])
        return max(1, int(min(fits)))

    def _start(self, slots: int) -> Iterator[News]:
        first = self._waiting.popleft()
        jobs, options = [first], self.options(first)
        size = 1 if _by_itself(first) else group_size(self._usual(), len(self._waiting) + 1, slots)
        while len(jobs) < size and self._waiting:
            following = self._waiting[0]
            if _by_itself(following) or self.options(following) != options:
                break
            jobs.append(self._waiting.popleft())
        task = self._ray.remote(**options)(remote_runs)
        log = None if self._log is None else self._log.part().resolve()
        reference = task.remote(jobs, self._runs, self._parts, self._threads, self._stop, log)
        self._running[reference] = _Group(tuple(jobs), time.monotonic())
        for job in jobs:
            yield Started(job)

    def _end(self, reference: Any) -> Iterator[News]:
        group, errors = self._running.pop(reference), self._ray.exceptions
        try:
            first, found = self._ray.get(reference)
        except errors.TaskCancelledError:
            yield from (Ended(job, Outcome("", "interrupted", error="cancelled")) for job in group.jobs)
        except errors.RayTaskError as error:
            told = reason(str(error))
            yield from (Ended(job, Outcome("", "failed", error=told)) for job in group.jobs)
        except errors.RayError as error:
            yield from self._lost(group, error)
        else:
            self.shares.add(time.monotonic() - group.since, [seconds for _, seconds in found], first)
            for job, (outcome, seconds) in zip(group.jobs, found, strict=True):
                self._latest.append(seconds)
                yield Ended(job, outcome)

    def _lost(self, group: _Group, error: Exception) -> Iterator[News]:
        """Submit the runs of a lost worker again, each by itself, so that one that kills its worker does not
        take others along; or report them as failed."""
        stopping = Path(self._stop).exists()
        for job in group.jobs:
            self._losses[job.key] += 1
            if stopping:
                yield Ended(job, Outcome("", "interrupted", error="its worker ended"))
            elif self._losses[job.key] < MOST_LOSSES:
                self._waiting.appendleft(replace(job, lost=True))
            else:
                told = " ".join(str(error).split())[:300]
                message = f"its Ray worker was lost {MOST_LOSSES} times ({type(error).__name__}: {told})"
                yield Ended(job, Outcome("", "failed", error=message))


def _by_itself(job: Job) -> bool:
    return job.alone or job.lost


def _join(ray: Any, address: str | None, workers: int | None, threads: int) -> None:
    """Connect to the cluster, or start one."""
    known = address or os.environ.get("RAY_ADDRESS")
    # Ray refuses a number of processors for a cluster that exists, also one named by the environment.
    own = {} if known or workers is None else {"num_cpus": workers * threads}
    try:
        host, colon, port = (known or "").rpartition(":")
        if colon and "/" not in host and port.isdigit():
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), timeout=_REACHED_SECONDS).close()
        ray.init(address=known or "local", log_to_driver=False, **own)
    except OSError as error:
        raise ValueError(f"executor 'ray': no cluster at address {known!r}: {error}") from error
