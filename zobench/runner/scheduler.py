"""Executes the unfinished runs of a plan and shows the progress.

Finished runs are kept, unfinished ones resumed and failed ones tried again. The scheduler waits for runs that
another process is executing. At Ctrl-C running ones write a checkpoint and stop. A second Ctrl-C, like ``kill
-9``, ends at once; only the steps since the last checkpoint are lost.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from zobench.runner.executors import Ended, Executor, Started
from zobench.runner.factory import DEFAULT
from zobench.runner.finished_runs import FinishedRuns
from zobench.runner.jobs import Job, Leasing, Outcome
from zobench.runner.leasing import leasing
from zobench.runner.library_log import Logged, Messages, kept_messages
from zobench.runner.making_executors import build
from zobench.runner.plan_record import PlanRecord, finals_entry, noise_entry, run_entry, trials_entry
from zobench.runner.progress import Board, Display, display_for
from zobench.runner.stopping import Reminder, say_stopping
from zobench.runner.studies import StudyDriver
from zobench.spec import PlannedRun
from zobench.store.compaction import compact
from zobench.store.damage import mend
from zobench.store.plan_file import Entry
from zobench.store.space import storage_problem
from zobench.suite.plan import Follower, Plan

COMPACT_ABOVE = 1000
"""Runs are compacted at the end of a plan if more than this number are finished."""
_BUSY_SECONDS = 0.5


@dataclass(slots=True)
class Summary:
    """Summary of ``run_plan``.

    Attributes:
        runs: folder of the run folders.
        done: number of results (diverged runs included); ``kept`` of them existed before the call.
        failed: failed runs, as (run, message).
        interrupted: whether a stop was requested.
        damage: damaged files that were found, and what was done about them.
        blocked: why nothing could be written, if the plan was stopped for that reason.
        unmeasured: failed measurements of trained runs, as (run, message).
        seconds, first_seconds: total wall time, and wall time until the first new result.
    """

    runs: Path
    done: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    damage: list[str] = field(default_factory=list)
    blocked: str = ""
    unmeasured: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    first_seconds: float | None = None


def run_plan(
    plan: Plan,
    output: str | Path,
    *,
    workers: int | None = None,
    progress: bool = True,
    only: str | Sequence[str] | None = None,
    tasks: Sequence[str] = (),
    seeds: Sequence[int] = (),
    fail_fast: bool = False,
    parts: str = DEFAULT,
    address: str | None = None,
    checkpoint_every: int | None = None,
    whole: Plan | None = None,
    retry_failed: bool = False,
    scratch: str | Path | None = None,
    lease_seconds: float | None = None,
    messages: Messages = "workers",
    earlier: str = "",
) -> Summary:
    """Execute every run of ``plan`` that is not finished in ``output``.

    Args:
        output: results folder; runs are stored in ``output/runs``.
        workers: number of worker processes; 0: execute everything in this process. ``None``: the suite's
            number, else one per processor (a single one if a run uses a GPU).
        progress: show progress on standard output.
        only, tasks, seeds: execute only these rows (one name or several), tasks and seeds; empty: all.
        fail_fast: stop cleanly at the first run that fails.
        parts: ``module:attribute`` of the factory that creates the parts of runs.
        address: address of an existing Ray cluster, for ``executor: ray``.
        checkpoint_every: steps between checkpoints; ``None``: the suite's number.
        retry_failed: try failed measurements again, regardless of the number of earlier failures.
        scratch: folder of the scratch copies of runs with ``perturbation: offload``; ``None``: their own.
        lease_seconds: take runs by leases of this time, as one of several workers that share ``output``.
        messages: whose warnings and messages of libraries go to ``output/logs`` instead of standard error: of
            worker processes, ``all``: of this process too, ``none``.
        earlier: messages to be added to the log, of the time before.
        whole: the plan of the whole suite if ``plan`` is a part of it; recorded in ``output/runs/plan.json``.
    """
    chosen = plan.part([only] if isinstance(only, str) else only or (), tasks, seeds)
    runs = Path(output) / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    damage = mend(runs)
    board = Board()
    display = display_for(board, progress, logged=messages == "all")
    with kept_messages(Path(output), messages, earlier, display.note) as logged:
        record, every = PlanRecord(whole or plan, runs, seeds), checkpoint_every
        conductor = _Conductor(
            chosen, record, runs, workers, board, display, parts, address, every, retry_failed, logged
        )
        conductor.found_damage(map(str, damage))
        conductor.fail_fast = fail_fast
        conductor.scratch = "" if scratch is None else str(Path(scratch).absolute())
        conductor.leasing = None if lease_seconds is None else leasing(Path(output), lease_seconds)
        return conductor.run()


class _Conductor:
    """One call of ``run_plan``."""

    def __init__(
        self,
        plan: Plan,
        record: PlanRecord,
        runs: Path,
        workers: int | None,
        board: Board,
        display: Display,
        parts: str,
        address: str | None,
        checkpoint_every: int | None,
        retry_failed: bool,
        logged: Logged,
    ) -> None:
        self.retry_failed, self.parts = retry_failed, parts
        self.plan, self.runs = plan, runs
        self.every = checkpoint_every or plan.checkpoint.every_steps
        self.summary = Summary(runs)
        self.fail_fast = False
        self.scratch = ""
        self.leasing: Leasing | None = None
        self.record = record
        self.stopping = False
        self.reminder = Reminder()
        self.board, self.display, self.terminal = board, display, logged.terminal
        self.drivers = [StudyDriver(study) for study in plan.studies]
        self.busy: list[Job] = []
        self.known = FinishedRuns(runs, parts, retry_failed)
        self.found: deque[tuple[Job, Outcome]] = deque()
        self.started = time.monotonic()
        self.executor: Executor = build(
            "inline" if workers == 0 else plan.executor.kind,
            runs,
            parts,
            settings=plan.executor,
            workers=worker_count(plan, workers),
            asked=workers,
            address=address,
            on_event=self.board.hear,
            logged=logged,
        )

    def found_damage(self, damage: Iterable[str]) -> None:
        """Record and display damaged files that were found."""
        for line in damage:
            self.summary.damage.append(line)
            self.display.note(f"damaged: {line}")

    def run(self) -> Summary:
        self.record.save()  # before any run, so that the report can show what is still missing
        self._fail_unloadable()
        for planned in self.plan.runs:
            self._submit([self._job(planned)], run_entry(planned))
        for driver in self.drivers:
            self._submit([self._job(trial) for trial in driver.start()], trials_entry(driver.study))
        self.display.start()
        try:
            with self._stopping_on_signals():
                self._loop()
        except BaseException:
            self.executor.kill()
            raise
        finally:
            self.display.stop()
        self.executor.close()
        self._save()
        self.summary.done, self.summary.kept = self.board.done, self.board.kept
        self.summary.seconds = time.monotonic() - self.started
        return self.summary

    def _save(self) -> None:
        """Save the new digests and run ids. A full disk is reported; it does not invalidate a result."""
        try:
            self.known.save()
            self.record.save()
            if not self.stopping and self.board.done > COMPACT_ABOVE:
                compact(self.runs)
        except OSError as error:
            blocked = storage_problem(error, self.runs)
            if blocked is None:
                raise
            self._check_storage(blocked)

    def _check_storage(self, blocked: str) -> None:
        """Stop the plan if nothing can be written, because every other run would fail in the same way."""
        if blocked and not self.summary.blocked:
            self.summary.blocked = blocked
            self.display.note(f"stopped: {blocked}; the same command then goes on")
            self._stop()

    def _fail_unloadable(self) -> None:
        """Record the runs that need a plugin which cannot be imported as failed."""
        for problem in self.plan.untracked:
            self.display.note(f"not tracked: {problem}")
        for one in self.plan.unloadable:
            if self.stopping:
                return
            job = self._job(one.run)
            self.board.add([job])
            self._ended(job, Outcome("", "failed", error=one.error))

    def _job(self, planned: PlannedRun, tuning: dict[str, Any] | None = None, forwards: int = 0) -> Job:
        limits = self.plan.limits
        return Job(
            planned,
            self.plan.suite,
            tuning or {},
            forwards,
            tuple(sys.argv),
            self.every,
            self.plan.trackers,
            retry_failed=self.retry_failed,
            processes=self.plan.executor.processes,
            parts=self.parts,
            scratch=self.scratch,
            leasing=self.leasing,
            run_seconds=60 * limits.run_minutes,
            step_seconds=60 * limits.step_minutes,
        )

    def _submit(self, jobs: list[Job], entry: Entry, why: str = "") -> None:
        self.board.add(jobs)
        if jobs and why:
            self.display.note(f"{len(jobs)} more, {self.board.jobs} in all: {why}")
        for job in jobs:
            self.record.expect(entry, job.key)
            outcome = self.known.outcome(job)
            if outcome is None:
                self.executor.submit(job)
            else:
                # Handled by the loop: the outcome may submit further jobs, while _submit still iterates.
                self.found.append((job, outcome))

    def _loop(self) -> None:
        while True:
            while self.found and not self.stopping:
                self._ended(*self.found.popleft())
            for news in self.executor.news():
                if isinstance(news, Started):
                    self._began(news.job)
                elif isinstance(news, Ended):
                    self._ended(news.job, news.outcome)
                self.display.refresh()
                if self.summary.interrupted:
                    self.reminder.refresh(self.board, self.display)
            if self.found and not self.stopping:
                continue
            if not self.busy or self.stopping:
                return
            # Only runs that other processes execute remain: try them again until those have finished.
            time.sleep(_BUSY_SECONDS)
            waiting, self.busy = self.busy, []
            for job in waiting:
                self.executor.submit(job)

    def _began(self, job: Job) -> None:
        if not self.board.begun:
            self.display.note(f"loading model and data: {self.board.name(job)}")
        self.board.begin(job)

    def _ended(self, job: Job, outcome: Outcome) -> None:
        if outcome.status == "busy":
            self.board.running.pop(job.key, None)
            self.busy.append(job)
            return
        late = outcome.status == "interrupted" and bool(outcome.error) and not self.stopping
        if not outcome.run_id and (late or outcome.status == "failed"):  # its worker died and left no record
            run_id = self._record_failure(job, outcome.error, outcome.status)
            outcome = replace(outcome, run_id=run_id)
        self.board.end(job, outcome)
        self.found_damage(f"{self.board.name(job)}: {line}" for line in outcome.damage)
        self._check_storage(outcome.blocked)
        self.known.learn(job.planned.spec, outcome.digests)
        self.record.ended(job.key, outcome.run_id)
        self.summary.unmeasured += [(self.board.name(job), line) for line in outcome.unmeasured]
        if outcome.status in ("failed", "out_of_memory") or late:
            self.summary.failed.append((self.board.name(job), outcome.error))
            if self.fail_fast:
                self._stop()
        if outcome.fresh and outcome.primary is not None and self.summary.first_seconds is None:
            self.summary.first_seconds = time.monotonic() - self.started
        self.display.ended(job, outcome)
        if not self.stopping and outcome.status != "interrupted":
            self._follow(job, outcome)

    def _stop(self) -> None:
        self.stopping = True
        self.executor.request_stop()

    def _follow(self, job: Job, outcome: Outcome) -> None:
        """Submit the runs that depend on a finished one: further trials, the runs with the selected
        parameters, or the noise baseline."""
        for follower in self.plan.followers:
            if follower.follows(job.planned):
                self._noise_control(follower, outcome)
        for driver in self.drivers:
            if not driver.owns(job.key):
                continue
            more = [self._job(trial) for trial in driver.hear(job.key, outcome)]
            self._submit(more, trials_entry(driver.study), f"next trials of {driver.study.row}'s search")
            if driver.over:
                self._finals(driver)

    def _noise_control(self, follower: Follower, outcome: Outcome) -> None:
        """Submit the noise baseline with the distance that the run moved; if the run has none, record a
        failure."""
        distance = outcome.metrics.get("distance", math.nan)
        if math.isfinite(distance):
            self._submit([self._job(follower.filled(distance))], noise_entry(follower))
            return
        message = f"needs the distance that a run of {follower.row!r} moved, but it ended {outcome.status}"
        job = self._job(follower.template)
        self.summary.failed.append((self.board.name(job), message))
        self._record_failure(job, message)

    def _finals(self, driver: StudyDriver) -> None:
        try:
            planned, record, forwards = driver.finals()
        except ValueError as error:
            for template in driver.study.executed:
                self.summary.failed.append((self.board.name(self._job(template)), str(error)))
                self._record_failure(self._job(template), str(error))
            return
        jobs = [self._job(p, record, forwards) for p in planned]
        self._submit(jobs, finals_entry(driver.study), f"{driver.study.row} with the settings chosen")

    def _record_failure(self, job: Job, message: str, status: str = "failed") -> str:
        from zobench.runner.lost_runs import record_lost

        return record_lost(job, self.runs, message, status)

    @contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        """First Ctrl-C (or SIGTERM): a clean stop. Second: ``KeyboardInterrupt``."""
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self.summary.interrupted:
                raise KeyboardInterrupt
            self.summary.interrupted = True
            say_stopping(self.board, self.terminal)
            self._stop()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def worker_count(plan: Plan, asked: int | None) -> int:
    """Number of worker processes: as requested, else the suite's number, else one per usable processor."""
    wanted = asked or plan.executor.workers
    if wanted is not None:
        return wanted
    runs = [*plan.runs, *(t for s in plan.studies for t in s.trial_templates)]
    if any(run.spec.model.device.startswith("cuda") for run in runs):
        return 1  # several would compete for one GPU's memory
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(processors, len(runs)))
