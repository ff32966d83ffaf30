"""Which executor runs a plan."""

from __future__ import annotations

from pathlib import Path

from zobench.runner.executors import Executor, ExecutorKind, Inline, OnEvent
from zobench.runner.library_log import Logged
from zobench.suite.schema import ExecutorSettings


def build(
    kind: ExecutorKind,
    runs: Path,
    parts: str,
    *,
    settings: ExecutorSettings,
    workers: int,
    asked: int | None,
    address: str | None,
    on_event: OnEvent,
    logged: Logged,
) -> Executor:
    """The executor of that kind."""
    threads = settings.threads or 1
    if kind == "inline":
        return Inline(runs, parts, threads, on_event, titled=logged.here)
    if kind == "ray":
        from zobench.runner.ray_executor import RayExecutor

        address = address or settings.address
        # An existing cluster has more processors than this machine.
        most = workers if asked or settings.workers or address is None else None
        return RayExecutor(runs, parts, most, threads, address, settings.gpus, logged.log)
    from zobench.runner.pool import ProcessPool

    return ProcessPool(runs, parts, workers, threads, on_event, logged.log)
