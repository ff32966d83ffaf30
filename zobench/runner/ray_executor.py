"""Executor on a Ray cluster: one remote task per run; all write to one shared results folder.

Ray is an optional extra (``pip install 'zobench[ray]'``). A local cluster is started unless an address is
given. Ray itself retries a lost task once; the run resumes from its checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zobench.runner.executors import Ended, News, Started
from zobench.runner.jobs import Job, Outcome
from zobench.runner.threads import set_threads


def remote_run(job: Job, runs: str, parts: str, threads: int) -> Outcome:
    """Executes one run as a Ray task. Ray reuses workers, so models and data stay loaded between tasks."""
    from zobench.runner.execute import Control, run_one

    set_threads(threads)
    import torch

    torch.set_num_threads(threads)
    return run_one(job, Path(runs), _bench(parts), Control(own_process=job.alone))


def _bench(parts: str) -> Any:
    from zobench.runner.factory import load_parts
    from zobench.runner.process_cache import ProcessCache

    if parts not in _BENCHES:
        _BENCHES[parts] = ProcessCache(load_parts(parts), own_code=True)
    return _BENCHES[parts]


_BENCHES: dict[str, Any] = {}


class RayExecutor:
    """Executes runs as tasks of a Ray cluster. A task gets one GPU if the run's device is a CUDA device, else
    none."""

    def __init__(self, runs: Path, parts: str, workers: int, threads: int, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError("executor 'ray' needs Ray: pip install 'zobench[ray]'") from error
        self._ray = ray
        self._runs, self._parts, self._threads, self._size = str(runs.resolve()), parts, threads, workers
        if not ray.is_initialized():
            ray.init(address=address, num_cpus=None if address else workers * threads, log_to_driver=False)
        self._waiting: deque[Job] = deque()
        self._running: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def news(self) -> Iterator[News | None]:
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._size:
                yield self._start(self._waiting.popleft())
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=0.5)
            for reference in ready:
                yield self._end(reference)
            if not ready:
                yield None

    def request_stop(self) -> None:
        """Cancel running tasks and drop waiting ones; the next call resumes them from their checkpoints."""
        self._waiting.clear()
        for reference in list(self._running):
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        self._ray.shutdown()

    def kill(self) -> None:
        self.request_stop()
        self.close()

    def _start(self, job: Job) -> Started:
        gpus = 1 if job.planned.spec.model.device.startswith("cuda") else 0
        calls = {"max_calls": 1} if job.alone else {}  # its process exits after the task
        task = self._ray.remote(num_cpus=self._threads, num_gpus=gpus, max_retries=1, **calls)(remote_run)
        self._running[task.remote(job, self._runs, self._parts, self._threads)] = job
        return Started(job)

    def _end(self, reference: Any) -> Ended:
        job = self._running.pop(reference)
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            outcome = Outcome("", "interrupted", error="cancelled")
        except self._ray.exceptions.RayError as error:
            outcome = Outcome("", "failed", error=f"its Ray task was lost: {error}")
        return Ended(job, outcome)
