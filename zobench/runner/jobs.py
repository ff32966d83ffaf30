"""Records that are exchanged between the planning process and the workers; all can be pickled."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from zobench.names import printable
from zobench.plugin_code import uses_plugins
from zobench.runner.factory import DEFAULT
from zobench.spec import PlannedRun


@dataclass(frozen=True, slots=True)
class Leasing:
    """Runs are taken by leases of ``seconds``; failures on other workers before ``since`` (a modification
    time on the shared file system) are tried again."""

    seconds: float
    since: float


@dataclass(frozen=True, slots=True)
class Job:
    """One planned run with the information that its record needs besides the specification.

    Attributes:
        suite: name of the suite.
        tuning: how the run's parameters were selected, as JSON values; empty if they were given.
        tuning_forwards: forward passes spent on selecting them.
        command: the command line, for the record.
        checkpoint_every: steps between two checkpoints.
        trackers: names of the trackers that receive the run's events.
        retry_failed: try failed measurements again, regardless of the number of earlier failures.
        lost: whether a worker process died during this job before.
        processes: number of processes of a run with ``split``.
        parts: ``module:attribute`` of the factory, for these processes.
        scratch: folder of the scratch copy of a run with ``perturbation: offload``; empty: the run's folder.
        leasing: leases by which workers on several machines take runs; ``None``: none.
        run_seconds, step_seconds: time after which the run, or a step of it, is stopped.
    """

    planned: PlannedRun
    suite: str = ""
    tuning: dict[str, Any] = field(default_factory=dict)
    tuning_forwards: int = 0
    command: tuple[str, ...] = ()
    checkpoint_every: int = 100
    trackers: tuple[str, ...] = ()
    retry_failed: bool = False
    lost: bool = False
    processes: int = 1
    parts: str = DEFAULT
    scratch: str = ""
    leasing: Leasing | None = None
    run_seconds: float = math.inf
    step_seconds: float = math.inf

    @property
    def alone(self) -> bool:
        """Whether the job needs a process of its own, because plugins may change the modules they import."""
        return uses_plugins(self.planned.spec)

    @property
    def key(self) -> str:
        """Identity of the job within its plan: SHA-256 of leaderboard entry and specification, because the
        digests of model and data are not known yet."""
        text = json.dumps([self.planned.row, self.planned.spec.canonical()])
        return hashlib.sha256(text.encode()).hexdigest()


def describe(job: Job, *, model: bool = False) -> str:
    """``mezo on sentiment, seed 0``; with ``model``, ``mezo on sentiment, builtin:nano, seed 0``."""
    run, spec = job.planned, job.planned.spec
    trial = " (tuning)" if spec.purpose == "tuning" else ""
    of = f", {run.shown_model}" if model else ""
    return printable(f"{run.row} on {run.shown_task}{of}, seed {spec.seed}{trial}")


def time_limit(what: str, key: str, seconds: float) -> str:
    """Message for a run that was stopped at a time limit."""
    return f"{what} took more than {seconds / 60:g} minutes (limits.{key} of the suite)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a job.

    Attributes:
        status: a status of the store, or ``busy`` if another process executes the run.
        fresh: False if the run was already finished.
        error: the message of the error (:func:`zobench.store.reasons.reason`).
        primary: value of the task's primary metric on the final state, if there is one.
        metrics: all clean metrics of the final state.
        forwards: forward passes spent on training.
        digests: digests of model, data and schema, if they were computed for this outcome.
        blocked: why nothing can be written (full disk, read-only folder), so that no run can be recorded.
        damage: damaged files that were found, and what was done about them.
        unmeasured: the failed measurements of a trained run, one line each.
    """

    run_id: str
    status: str
    fresh: bool = True
    error: str = ""
    primary: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    forwards: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    blocked: str = ""
    damage: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
