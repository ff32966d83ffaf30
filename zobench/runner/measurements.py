"""What is measured of a trained run besides its own score: attacks, lm-eval tasks, probes; each on its own.

A measurement that raises costs neither the run nor the other measurements: it is recorded in the table
``failures`` with its reason, and one later call tries it again (``MOST_TRIES`` in all); after that only
``--retry-failed`` does. ``measured.jsonl`` in the run's folder has a line for everything that was begun, done
or failed, so that a restart measures what is missing and nothing else. It lives as long as something is.

A measurement during which the machine or the whole program ended is begun again and not counted; one during
which its worker process alone ended is a failed one, or it would end every worker after it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zobench.runner.results import Row
from zobench.store.step_log import StepLog, readable_lines
from zobench.store.writer import JOURNAL

MOST_TRIES = 2
LOST = "its worker process ended during this measurement"


class Stopped(Exception):
    """A clean stop was asked for; what was done so far is kept."""


@dataclass(slots=True)
class Found:
    """What one measurement gave.

    Attributes:
        metrics, attacks: rows of these tables, at their place in training.
        predictions: how many were computed.
        more: whatever the next measurements need of it, as JSON.
    """

    metrics: list[Row] = field(default_factory=list)
    attacks: list[Row] = field(default_factory=list)
    predictions: int = 0
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Failure:
    """A measurement that failed, how often, and why the last time."""

    reason: str
    detail: str
    tries: int


class Measurements:
    """The measurements of one trained run.

    Args:
        folder: the run's.
        digest: of its final weights. What was measured on others is not taken up.
        book: called with the predictions and seconds of each measurement, also of those done before.
        may_retry: whether a measurement that failed so often is tried in this call.
        should_stop: asked before each measurement; :class:`Stopped` is raised where it says so.
        lost: the run's worker ended the last time: what was begun then has failed.
    """

    def __init__(
        self,
        folder: Path,
        digest: str,
        book: Callable[[int, float], None],
        *,
        may_retry: Callable[[int], bool],
        should_stop: Callable[[], bool] = lambda: False,
        lost: bool = False,
    ) -> None:
        self.failures: dict[str, Failure] = {}
        self._book, self._may_retry, self._should_stop = book, may_retry, should_stop
        self._done: dict[str, Row] = {}
        self._begun = self._spoiled = ""
        self._log = StepLog(folder / JOURNAL)
        lines, _ = readable_lines(folder / JOURNAL)
        if not lines or lines[0] != {"weights": digest}:
            lines = []
        self._log.open(keep_steps=len(lines))
        if not lines:
            self._log.append({"weights": digest})
        for line in lines[1:]:
            self._read(line)
        self._tried: set[str] = set()
        if lost and self._begun:
            self._tried.add(self._begun)
            self._failed(self._begun, LOST, LOST)

    def _read(self, line: Row) -> None:
        name = line["name"]
        self._begun = name if line["event"] == "begun" else ""
        if line["event"] == "done":
            self._done[name] = line
            self.failures.pop(name, None)
        elif line["event"] == "failed":
            self.failures[name] = Failure(line["reason"], line["detail"], line["tries"])

    def recalled(self, name: str) -> Row | None:
        """What :meth:`remember` kept in an earlier call."""
        return self._done.get(name)

    def remember(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a result that the run depends on for the calls that follow."""
        self._log.append({"event": "done", "name": name, **body})

    def take(self, name: str, measure: Callable[[], Found]) -> Found | None:
        """The result of ``measure``, from an earlier call where it was done then; ``None`` if it failed now,
        or failed before and is not tried again."""
        if (line := self._done.get(name)) is not None:
            self._book(line["predictions"], line["seconds"])
            return Found(line["metrics"], line["attacks"], line["predictions"], line["more"])
        before = self.failures.get(name)
        if name in self._tried or (before is not None and not self._may_retry(before.tries)):
            return None
        if self._spoiled:
            reason = f"not tried: {self._spoiled} failed and left the weights changed"
            self.failures[name] = before or Failure(reason, "", 0)
            return None
        if self._should_stop():
            raise Stopped
        self._tried.add(name)
        self._log.append({"event": "begun", "name": name})
        started = time.perf_counter()
        try:
            found = measure()
        except Exception as error:  # noqa: BLE001 - recorded with its traceback; the run stays a result
            self._failed(name, f"{type(error).__name__}: {error}", traceback.format_exc())
            return None
        seconds = time.perf_counter() - started
        self._keep(name, found, seconds)
        self._book(found.predictions, seconds)
        return found

    def spoiled(self, name: str) -> None:
        """Try nothing more in this call: ``name`` failed and left other weights behind."""
        self._spoiled = name

    def rows(self) -> list[Row]:
        """Rows of the failures table."""
        return [
            {"measurement": n, "reason": f.reason, "detail": f.detail, "tries": f.tries, "final": True}
            for n, f in self.failures.items()
        ]

    def close(self) -> None:
        self._log.close()

    def _keep(self, name: str, found: Found, seconds: float) -> None:
        self.failures.pop(name, None)
        body = {"metrics": found.metrics, "attacks": found.attacks, "more": found.more}
        line = {"event": "done", "name": name, "predictions": found.predictions, "seconds": seconds, **body}
        self._log.append(line)

    def _failed(self, name: str, reason: str, detail: str) -> None:
        tries = 1 + (self.failures[name].tries if name in self.failures else 0)
        self.failures[name] = Failure(reason, detail, tries)
        line = {"event": "failed", "name": name, "reason": reason, "detail": detail, "tries": tries}
        self._log.append(line)


def may_retry(status: str, asked: bool) -> Callable[[int], bool]:
    """Whether a measurement of a run with this status that failed so often is tried again. Those of a
    diverged run are only where it is asked for."""
    return lambda tries: asked or (status != "diverged" and tries < MOST_TRIES)


def some_to_retry(status: str, failures: list[Row], asked: bool) -> bool:
    """Whether a call of ``zobench run`` has something to measure again."""
    wanted = may_retry(status, asked)
    return any(row["final"] and wanted(row["tries"]) for row in failures)


def told(failures: list[Row]) -> tuple[str, ...]:
    """One line for each failed measurement."""
    return tuple(
        f"{row['measurement']} was not measured ({row['tries']} of {MOST_TRIES} tries): {row['reason']}"
        for row in failures
    )
