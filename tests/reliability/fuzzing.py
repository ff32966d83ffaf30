"""Random inputs by hypothesis, in numbered batches with fixed inputs, so that long checks can be continued.

A surface draws inputs and checks each one. A check returns ``accepted`` or ``refused``, and raises for
everything else: a traceback, a refusal without a useful message, a wrong result.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

LONGEST_MESSAGE = 12_000
"""Characters of the longest refusal: a hundred problems of a suite, one a line."""
KEPT_FAILURES = 20
"""Failures of a batch that are recorded in full."""


@dataclass(frozen=True)
class Surface:
    """What is fuzzed.

    Attributes:
        tries: inputs of the full nightly check.
        size: inputs of a batch.
        small: inputs of the batch that CI tries.
        prepare: ``prepare(folder)`` makes what all inputs of a process need, and gives the strategy and the
            check of one input.
    """

    name: str
    tries: int
    size: int
    small: int
    prepare: Callable[[Path], tuple[st.SearchStrategy[Any], Callable[[Any], str]]]


@dataclass
class Batch:
    """What the inputs of a batch gave: counts by outcome, and the failures."""

    surface: str
    number: int
    size: int
    outcomes: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def tries(self) -> int:
        return sum(self.outcomes.values())


@contextmanager
def refusals(*named: str) -> Iterator[list[str]]:
    """Let a ``ValueError`` pass that says what is wrong in printable lines and names ``named``; it is put
    into the list that the block gets."""
    told: list[str] = []
    try:
        yield told
    except ValueError as error:
        _check_refusal(error, named)
        told.append(str(error))


def _check_refusal(error: ValueError, named: tuple[str, ...]) -> None:
    message = str(error)
    assert not isinstance(error, UnicodeError | json.JSONDecodeError), f"raw {error!r}"
    assert message.strip(), f"{type(error).__name__} without a message"
    assert len(message) <= LONGEST_MESSAGE, f"{len(message)} characters: {message[:200]}"
    for name in named:
        assert name in message, f"{name!r} is not named: {message[:300]}"


def run_batch(surface: Surface, number: int, size: int, folder: Path) -> Batch:
    """Try ``size`` inputs, those that belong to the number."""
    strategy, check = surface.prepare(folder)
    return Prepared(surface, strategy, check)(number, size)


@dataclass(frozen=True)
class Prepared:
    """A surface that is ready in this process."""

    surface: Surface
    strategy: st.SearchStrategy[Any]
    check: Callable[[Any], str]

    def __call__(self, number: int, size: int) -> Batch:
        batch = Batch(self.surface.name, number, size)

        @seed(number)
        @settings(
            max_examples=size,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(self.strategy)
        def every(value: Any) -> None:
            try:
                outcome = self.check(value)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded
                outcome = "failed"
                if len(batch.failures) < KEPT_FAILURES:
                    where = "".join(traceback.format_tb(error.__traceback__)[-2:])
                    shown = {"input": repr(value)[:4000], "error": repr(error)[:500], "where": where[-800:]}
                    batch.failures.append(shown)
            batch.outcomes[outcome] = batch.outcomes.get(outcome, 0) + 1

        every()
        return batch


def go_on(surface: Surface, folder: Path, minutes: float, tries: int) -> list[dict[str, Any]]:
    """Do batches until there are ``tries`` inputs or the time is over; every batch so far."""
    folder.mkdir(parents=True, exist_ok=True)
    path, until = folder / "trials.jsonl", time.monotonic() + 60 * minutes
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    with TemporaryDirectory(prefix="fuzz-") as work, path.open("a", encoding="utf-8") as log:
        strategy, check = surface.prepare(Path(work))
        prepared = Prepared(surface, strategy, check)
        number = len(found)
        while count(found) < tries and time.monotonic() < until:
            batch = prepared(number, surface.size)
            number += 1
            found.append({**vars(batch), "tries": batch.tries})
            print(json.dumps(found[-1]), file=log, flush=True)
    return found


def count(found: list[dict[str, Any]]) -> int:
    return sum(batch["tries"] for batch in found)


def summary(surface: Surface, found: list[dict[str, Any]]) -> str:
    """One line of counts, and every failure."""
    outcomes: dict[str, int] = {}
    for batch in found:
        for name, number in batch["outcomes"].items():
            outcomes[name] = outcomes.get(name, 0) + number
    told = ", ".join(f"{n} {outcomes[n]:,}" for n in sorted(outcomes))
    lines = [f"{surface.name}: {count(found):,} tries of {surface.tries:,}: {told}"]
    return "\n".join([*lines, *(json.dumps(f) for b in found for f in b["failures"])])
