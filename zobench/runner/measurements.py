"""Measurements of a trained run besides its own score: attacks, lm-eval tasks and probes.

Measurements are independent: one that raises affects neither the run nor the other measurements. It is
recorded in the table ``failures`` with its reason, and a later call tries it again (at most ``MOST_TRIES``
tries in total; after that only with ``--retry-failed``). ``measured.jsonl`` in the run's folder has a line
for every measurement that was started, finished or failed, so that a restart makes only the missing ones. The
file is deleted when none is missing.

If the machine or the whole program stops during a measurement, the measurement is started again and the try
is not counted. If only its worker process dies, it counts as failed, because it might kill every new worker.
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
    """A clean stop was requested; the results so far are kept."""


@dataclass(slots=True)
class Found:
    """The result of one measurement.

    Attributes:
        metrics, attacks: records of these tables, with their position in training.
        predictions: number of predictions that were computed.
        more: JSON values that later measurements need.
    """

    metrics: list[Row] = field(default_factory=list)
    attacks: list[Row] = field(default_factory=list)
    predictions: int = 0
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Failure:
    """A failed measurement, its number of failures, and the reason for the latest one."""

    reason: str
    detail: str
    tries: int


class Measurements:
    """The measurements of one trained run.

    Args:
        folder: folder of the run.
        digest: digest of its final weights. Results that were measured on other weights are not used.
        book: called with the number of predictions and the seconds of each measurement, including those that
            an earlier call made.
        may_retry: given the number of failures, whether the measurement is tried again in this call.
        should_stop: called before each measurement; if it returns True, :class:`Stopped` is raised.
        lost: whether the run's worker died in the previous call; a measurement that was in progress then
            counts as failed.
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
        """The result that :meth:`remember` stored in an earlier call; ``None`` if there is none."""
        return self._done.get(name)

    def remember(self, name: str, body: Mapping[str, Any]) -> None:
        """Store a result that the run needs in later calls."""
        self._log.append({"event": "done", "name": name, **body})

    def take(self, name: str, measure: Callable[[], Found]) -> Found | None:
        """The result of ``measure``, from an earlier call if available; ``None`` if it failed now, or failed
        before and is not tried again."""
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
        except (Exception, SystemExit) as error:  # noqa: BLE001 - recorded; the run remains valid
            self._failed(name, f"{type(error).__name__}: {error}", traceback.format_exc())
            return None
        seconds = time.perf_counter() - started
        self._keep(name, found, seconds)
        self._book(found.predictions, seconds)
        return found

    def spoiled(self, name: str) -> None:
        """Make no further measurements in this call, because ``name`` failed and left changed weights."""
        self._spoiled = name

    def rows(self) -> list[Row]:
        """Records of the failures table."""
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
    """Function that returns whether a measurement with this number of failures is tried again. For a diverged
    run, this happens only if it was requested (``asked``)."""
    return lambda tries: asked or (status != "diverged" and tries < MOST_TRIES)


def some_to_retry(status: str, failures: list[Row], asked: bool) -> bool:
    """Whether ``zobench run`` has failed measurements to try again."""
    wanted = may_retry(status, asked)
    return any(row["final"] and wanted(row["tries"]) for row in failures)


def told(failures: list[Row]) -> tuple[str, ...]:
    """One line for each failed measurement."""
    return tuple(
        f"{row['measurement']} was not measured ({row['tries']} of {MOST_TRIES} tries): {row['reason']}"
        for row in failures
    )
