"""Display of progress while a plan runs: a live table in a terminal, plain lines elsewhere.

``rich.progress`` computes the bar and the remaining time from the forward passes of the unfinished runs.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TextIO

from rich.console import Group
from rich.live import Live as RichLive
from rich.progress import BarColumn, Progress, Task, TaskProgressColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from zobench.names import printable
from zobench.runner.jobs import Job, Outcome, describe
from zobench.terminal import SafeConsole

_GOOD = ("done", "diverged", "budget")
_STOPPED = "interrupted"
"""Status of a run that was asked to stop: neither failed nor finished; the next call resumes it."""


@dataclass(slots=True)
class Watched:
    """The latest known state of a run in progress."""

    job: Job
    doing: str = "starting"
    forwards: int = 0
    loss: float = math.nan
    metric: float | None = None


def _bar() -> Progress:
    # Runs differ in speed, so the speed is estimated over the whole plan, not over the last 30 seconds.
    columns = (BarColumn(40), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, speed_estimate_period=math.inf)


@dataclass(slots=True)
class Board:
    """Counts of a plan. ``expected`` and ``made`` are forward passes of the jobs that were not already
    finished. Tuning jobs are added as they appear."""

    jobs: int = 0
    expected: int = 0
    made: int = 0
    done: int = 0
    kept: int = 0
    failed: int = 0
    interrupted: int = 0
    spent: int = 0
    begun: int = 0
    running: dict[str, Watched] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    bar: Progress = field(default_factory=_bar)

    def __post_init__(self) -> None:
        self.bar.add_task("forwards", total=None)

    @property
    def task(self) -> Task:
        return self.bar.tasks[0]

    def add(self, jobs: list[Job]) -> None:
        self.jobs += len(jobs)
        self.models.update(job.planned.shown_model for job in jobs)
        self.expected += sum(_weight(job) for job in jobs)
        self.bar.update(self.task.id, total=self.expected)

    def begin(self, job: Job) -> None:
        self.begun += 1
        self.running[job.key] = Watched(job)

    def hear(self, key: str, event: dict[str, Any]) -> None:
        watched = self.running.get(key)
        if watched is not None:
            watched.doing = event.get("doing", "training" if "loss" in event else watched.doing)
            watched.forwards = event.get("forwards", watched.forwards)
            watched.loss = event.get("loss", watched.loss)
            watched.metric = event.get("metric", watched.metric)
            self._update()

    def end(self, job: Job, outcome: Outcome) -> None:
        self.running.pop(job.key, None)
        good = outcome.status in _GOOD
        self.done += good
        self.kept += good and not outcome.fresh
        self.interrupted += outcome.status == _STOPPED
        self.failed += not good and outcome.status != _STOPPED
        if outcome.fresh:
            self.spent += outcome.forwards
            self.made += outcome.forwards if outcome.status == _STOPPED else _weight(job)
        else:
            self.expected -= _weight(job)
            # Not with update(), which would discard the speed measured so far.
            self.task.total = self.expected
        self._update()

    def _update(self) -> None:
        # A copy of the values: the live display reads them in a thread of its own.
        made = self.made + sum(w.forwards for w in list(self.running.values()))
        self.bar.update(self.task.id, completed=made)

    def name(self, job: Job) -> str:
        """Name of a job in the output; includes the model if the plan has several."""
        return describe(job, model=len(self.models) > 1)

    def headline(self) -> str:
        """Counts, and the remaining time as soon as it can be estimated."""
        spent = self.spent + sum(w.forwards for w in list(self.running.values()))
        parts = [
            f"{self.done}/{self.jobs} done" + (f" ({self.kept} kept)" if self.kept else ""),
            f"{len(self.running)} running",
            f"{self.failed} failed",
            *([f"{self.interrupted} interrupted"] if self.interrupted else []),
            f"{spent} forward passes spent",
        ]
        left = self.task.time_remaining
        return ", ".join([*parts, f"{timedelta(seconds=round(left))} left"] if left else parts)


def _weight(job: Job) -> int:
    """Forward passes of a job for the estimate of time, with a constant for its evaluation, which takes time
    even without training."""
    return job.planned.spec.budget.forwards + 50


class Display(Protocol):
    """Shows a board."""

    def start(self) -> None: ...

    def ended(self, job: Job, outcome: Outcome) -> None: ...

    def note(self, text: str) -> None:
        """Show a line that does not belong to a run."""
        ...

    def refresh(self) -> None: ...

    def stop(self) -> None: ...


def display_for(board: Board, wanted: bool, stream: TextIO | None = None, *, logged: bool = False) -> Display:
    """A live display in a terminal, lines otherwise, no display if not ``wanted``. ``logged``: standard error
    goes to a file while the display is shown."""
    out = stream or sys.stdout
    if not wanted:
        return Silent()
    return Live(board, logged=logged) if out.isatty() else Lines(board, out)


class Silent:
    """No display."""

    def start(self) -> None: ...

    def ended(self, job: Job, outcome: Outcome) -> None: ...

    def note(self, text: str) -> None: ...

    def refresh(self) -> None: ...

    def stop(self) -> None: ...


class Lines:
    """One line per finished run and a regular summary line, for logs."""

    EVERY_SECONDS = 30.0

    def __init__(self, board: Board, stream: TextIO) -> None:
        self._board, self._stream, self._last = board, stream, time.monotonic()

    def start(self) -> None:
        self._say(f"{self._board.jobs} runs")

    def ended(self, job: Job, outcome: Outcome) -> None:
        if outcome.fresh:
            self._say(
                f"[{self._board.done + self._board.failed}/{self._board.jobs}] "
                f"{line_of(self._board.name(job), outcome)}"
            )

    def note(self, text: str) -> None:
        self._say(printable(text))

    def refresh(self) -> None:
        if time.monotonic() - self._last >= self.EVERY_SECONDS:
            self._say(self._board.headline())

    def stop(self) -> None:
        self._say(self._board.headline())

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        print(printable(text), file=self._stream, flush=True)


def line_of(name: str, outcome: Outcome) -> str:
    """One finished run in one line. The reason of a failure is printed whole, once, when the plan ends."""
    value = "" if outcome.primary is None else f"  {outcome.primary:.3f}"
    reason = f"  {printable(outcome.error)}" if outcome.error else ""
    if outcome.status in ("failed", "out_of_memory"):
        reason = "  (reason below, at the end)"
    count = len(outcome.unmeasured)
    lost = f"  ({count} measurement{'s' if count > 1 else ''} failed)" if count else ""
    return f"{name}: {outcome.status}{value}{reason}{lost}"


class Live:
    """A table of the running runs under a bar, redrawn in place; finished runs scroll above it."""

    def __init__(self, board: Board, *, logged: bool = False) -> None:
        self._board = board
        self._console = SafeConsole()
        self._live = RichLive(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=4,
            redirect_stderr=not logged,
        )

    def start(self) -> None:
        self._live.start()

    def ended(self, job: Job, outcome: Outcome) -> None:
        if outcome.fresh:
            style = "" if outcome.status == "done" else "red"
            self._console.print(Text(line_of(self._board.name(job), outcome), style=style))

    def note(self, text: str) -> None:
        self._console.print(Text(printable(text), style="yellow"))

    def refresh(self) -> None:
        """Does nothing: rich redraws the display in a thread of its own."""

    def stop(self) -> None:
        self._live.stop()

    def _draw(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for name in ("run", "now", "forwards", "loss", "accuracy"):
            table.add_column(name, justify="left" if name in ("run", "now") else "right")
        for watched in list(self._board.running.values()):
            budget = watched.job.planned.spec.budget.forwards
            loss = "" if math.isnan(watched.loss) else f"{watched.loss:.3f}"
            metric = "" if watched.metric is None else f"{watched.metric:.3f}"
            run, forwards = Text(self._board.name(watched.job)), f"{watched.forwards}/{budget}"
            table.add_row(run, watched.doing, forwards, loss, metric)
        return Group(self._board.bar.get_renderable(), Text(self._board.headline()), table)
