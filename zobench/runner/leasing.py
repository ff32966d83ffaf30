"""Runs taken by leases, for workers on several machines that share a results folder (``zobench worker``).

A worker that is killed leaves a lease that nobody renews; after its time another worker takes the run and
goes on from its checkpoint. The lock of the run's folder is held as well, so that a worker which was only
stopped for a while keeps its run. Where the file system has no locks, the lease alone decides, and a worker
that lost it ends without writing to the run any more.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from zobench.runner.jobs import Leasing, Outcome
from zobench.store.lease import Lease

FOLDER = "leases"


@dataclass
class Claim:
    """The right to execute a run: ``with claim:``. Without a lease (one machine), the folder's lock alone."""

    lease: Lease | None = None
    marker: Path | None = None

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lease is not None:
            self.lease.release()

    def check(self) -> bool:
        """False; raises :class:`~zobench.store.lease.LeaseLost` if another worker has taken the run."""
        if self.lease is not None:
            self.lease.check()
        return False

    def ended(self, outcome: Outcome) -> Outcome:
        """Tell the other workers about a failure, so that each run is tried once and not once per worker."""
        if self.marker is not None and outcome.status in ("failed", "out_of_memory"):
            self.marker.write_text(outcome.error, encoding="utf-8")
        return outcome


def claim(leasing: Leasing | None, runs: Path, run_id: str) -> Claim | Outcome:
    """The claim on a run, or its outcome: ``busy`` if another worker has it, or its failure there."""
    if leasing is None:
        return Claim()
    folder = runs.parent / FOLDER
    marker = folder / f"{run_id}.failed"
    try:
        if marker.stat().st_mtime >= leasing.since:
            told = marker.read_text(encoding="utf-8")
            return Outcome(run_id, "failed", fresh=False, error=f"on another worker: {told}")
    except FileNotFoundError:
        pass
    lease = Lease.acquire(folder, run_id, leasing.seconds)
    return Outcome(run_id, "busy", fresh=False) if lease is None else Claim(lease, marker)


def leasing(output: Path, seconds: float) -> Leasing:
    """Leases of this time in a results folder, for a worker that starts now."""
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f"start-{uuid.uuid4().hex}"
    probe.touch()
    try:
        return Leasing(seconds, os.stat(probe).st_mtime)
    finally:
        probe.unlink()
