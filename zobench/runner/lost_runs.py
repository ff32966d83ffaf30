"""Records of runs that could not record themselves: the worker process died or was stopped at a time limit,
or the run could not be planned."""

from __future__ import annotations

from pathlib import Path

from zobench.runner.execute import record_failure
from zobench.runner.jobs import Job
from zobench.spec import RunSpec, placeholder
from zobench.store.damage import run_ids
from zobench.store.digests import DamagedFile, read_sealed
from zobench.store.paths import run_folder
from zobench.store.space import storage_problem
from zobench.store.writer import ENVIRONMENT, STATUS


def record_lost(job: Job, runs: Path, message: str, status: str | None = None) -> str:
    """Record the failure in the folder that the run has begun, where the next call finds its log and its
    checkpoint; under a placeholder if it has none. If the disk is full, nothing is recorded.

    Returns:
        The run's id; empty if it is not known.
    """
    spec = job.planned.spec
    run_id, digests = begun(runs, spec)
    try:
        record_failure(
            job, runs, run_id or placeholder(spec), RuntimeError(message), status=status, digests=digests
        )
    except OSError as error:
        if storage_problem(error) is None:
            raise
    return run_id


def begun(runs: Path, spec: RunSpec) -> tuple[str, dict[str, str]]:
    """Id and digests of the unfinished run of ``spec``, by the digests that it recorded when it began; of
    several (older code, other data) the one that began last. Empty if there is none."""
    found = []
    for run_id in run_ids(runs):
        path = run_folder(runs, run_id) / ENVIRONMENT
        try:
            if path.with_name(STATUS).exists():
                continue
            digests, since = read_sealed(path).get("digests"), path.stat().st_mtime_ns
        except (FileNotFoundError, DamagedFile):
            continue
        if isinstance(digests, dict) and spec.run_id(digests) == run_id:
            found.append((since, run_id, digests))
    return max(found, key=lambda one: one[0])[1:] if found else ("", {})
