"""What a person sees while a plan runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from zobench.runner.jobs import Job, Outcome

_GOOD = ("done", "diverged", "budget")


@dataclass(slots=True)
class Watched:
    """A run that is being made, as far as it has been heard from."""

    job: Job
    forwards: int = 0
    loss: float = math.nan
    metric: float | None = None


@dataclass(slots=True)
class Board:
    """The counts of a plan. ``expected`` are forwards of all its jobs; tuning jobs are added as they become
    known."""

    jobs: int = 0
    expected: int = 0
    done: int = 0
    kept: int = 0
    failed: int = 0
    spent: int = 0
    work: int = 0
    running: dict[str, Watched] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def add(self, jobs: list[Job]) -> None:
        self.jobs += len(jobs)
        self.expected += sum(_weight(job) for job in jobs)

    def begin(self, job: Job) -> None:
        self.running[job.key] = Watched(job)

    def hear(self, key: str, event: dict[str, Any]) -> None:
        watched = self.running.get(key)
        if watched is not None:
            watched.forwards = event.get("forwards", watched.forwards)
            watched.loss = event.get("loss", watched.loss)
            watched.metric = event.get("metric", watched.metric)

    def end(self, job: Job, outcome: Outcome) -> None:
        self.running.pop(job.key, None)
        good = outcome.status in _GOOD
        self.done += good
        self.kept += good and not outcome.fresh
        self.failed += not good
        self.spent += outcome.forwards if outcome.fresh else 0
        self.expected -= _weight(job)
        self.work += _weight(job) if outcome.fresh else 0

    def seconds_left(self) -> float | None:
        """Time left at the pace so far; ``None`` until something is finished."""
        partly = sum(w.forwards for w in self.running.values())
        made = self.work + partly
        if made <= 0:
            return None
        return max(0.0, (time.monotonic() - self.started) * (self.expected - partly) / made)

    def headline(self) -> str:
        spent = self.spent + sum(w.forwards for w in self.running.values())
        left = self.seconds_left()
        parts = [
            f"{self.done}/{self.jobs} done" + (f" ({self.kept} kept)" if self.kept else ""),
            f"{len(self.running)} running",
            f"{self.failed} failed",
            f"{spent} forwards spent",
        ]
        return ", ".join(
            [*parts, *([f"{clock(left)} left"] if left is not None and self.expected > 0 else [])]
        )


def _weight(job: Job) -> int:
    """Forwards of a job for the estimate of time; measuring counts as some even where nothing is trained."""
    return job.planned.spec.budget.forwards + 50


def clock(seconds: float) -> str:
    """``0:42``, ``3:05`` or ``2:10:00``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def describe(job: Job) -> str:
    """``mezo on sentiment, seed 0``."""
    spec = job.planned.spec
    trial = " (tuning)" if spec.purpose == "tuning" else ""
    return f"{job.planned.row} on {spec.task.name}, seed {spec.seed}{trial}"


class Display(Protocol):
    """Shows a board."""

    def start(self) -> None: ...

    def ended(self, job: Job, outcome: Outcome) -> None: ...

    def refresh(self) -> None: ...

    def stop(self) -> None: ...


def display_for(board: Board, wanted: bool, stream: TextIO | None = None) -> Display:
    """Live in a terminal, lines otherwise, nothing when not wanted."""
    out = stream or sys.stdout
    if not wanted:
        return Silent()
    return Live(board) if out.isatty() else Lines(board, out)


class Silent:
    """No display."""

    def start(self) -> None: ...

    def ended(self, job: Job, outcome: Outcome) -> None: ...

    def refresh(self) -> None: ...

    def stop(self) -> None: ...


class Lines:
    """One line per finished run and a headline now and then: for logs."""

    EVERY_SECONDS = 30.0

    def __init__(self, board: Board, stream: TextIO) -> None:
        self._board, self._stream, self._last = board, stream, time.monotonic()

    def start(self) -> None:
        self._say(f"{self._board.jobs} runs")

    def ended(self, job: Job, outcome: Outcome) -> None:
        if outcome.fresh:
            self._say(f"[{self._board.done + self._board.failed}/{self._board.jobs}] {line_of(job, outcome)}")

    def refresh(self) -> None:
        if time.monotonic() - self._last >= self.EVERY_SECONDS:
            self._say(self._board.headline())

    def stop(self) -> None:
        self._say(self._board.headline())

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        print(text, file=self._stream, flush=True)


def line_of(job: Job, outcome: Outcome) -> str:
    """One finished run in one line."""
    value = "" if outcome.primary is None else f"  {outcome.primary:.3f}"
    reason = f"  {outcome.error[:160]}" if outcome.error else ""
    return f"{describe(job)}: {outcome.status}{value}{reason}"


class Live:
    """A table of the running runs under a bar, redrawn in place; finished runs scroll above it."""

    def __init__(self, board: Board) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._board = board
        self._console = Console()
        self._live = RichLive(get_renderable=self._draw, console=self._console, refresh_per_second=4)

    def start(self) -> None:
        self._live.start()

    def ended(self, job: Job, outcome: Outcome) -> None:
        if outcome.fresh:
            from rich.text import Text

            style = "" if outcome.status == "done" else "red"
            self._console.print(Text(line_of(job, outcome), style=style))

    def refresh(self) -> None:
        """Redrawn by its own thread."""

    def stop(self) -> None:
        self._live.stop()

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for name in ("run", "forwards", "loss", "accuracy"):
            table.add_column(name, justify="left" if name == "run" else "right")
        for watched in list(self._board.running.values()):
            budget = watched.job.planned.spec.budget.forwards
            loss = "" if math.isnan(watched.loss) else f"{watched.loss:.3f}"
            metric = "" if watched.metric is None else f"{watched.metric:.3f}"
            table.add_row(Text(describe(watched.job)), f"{watched.forwards}/{budget}", loss, metric)
        finished = self._board.done + self._board.failed
        bar = ProgressBar(total=max(1, self._board.jobs), completed=finished, width=40)
        return Group(bar, Text(self._board.headline()), table)
