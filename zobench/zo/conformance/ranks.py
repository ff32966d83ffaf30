"""A run on two ranks is bit-identical to a run on one. The ranks are two threads of this process in lockstep.

Each rank has its own module, space and optimizer. Only one rank computes at any time, because some kernels
must not run twice concurrently. An error on one rank ends both.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from zobench.zo.base import StepRecord
from zobench.zo.conformance.subject import Skip, Subject, expect
from zobench.zo.distributed import distribute
from zobench.zo.engine import Engine
from zobench.zo.method import Method

SNAPSHOT = Engine(mode="snapshot")

SECONDS = 120.0
"""The check fails if a rank has waited this long for the other one."""


class Lockstep:
    """The state shared by ``size`` threads.

    Attributes:
        size: number of ranks.
        turn: lock of the rank that computes.
        barrier: where ranks wait for each other.
        said: the values that each rank sent last.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.turn = threading.Lock()
        self.barrier = threading.Barrier(size)
        self.said: list[list[float]] = [[] for _ in range(size)]


class ThreadExchange:
    """The exchange of one rank. Its thread holds the lock ``turn`` except while it waits."""

    def __init__(self, meeting: Lockstep, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        meeting = self.meeting
        meeting.said[self.rank] = list(values)
        meeting.turn.release()
        # First barrier: all values have been written. Second: all ranks have read them, so that the next
        # gather may overwrite them.
        try:
            meeting.barrier.wait(SECONDS)
            said = [list(part) for part in meeting.said]
            meeting.barrier.wait(SECONDS)
        finally:
            meeting.turn.acquire()
        return said


def two_ranks(subject: Subject, steps: int) -> list[tuple[list[StepRecord], str]]:
    """Records and final digest of the weights for each of two ranks."""
    meeting = Lockstep(2)

    def rank(number: int) -> tuple[list[StepRecord], str]:
        with meeting.turn:
            try:
                run = subject.start(engine=SNAPSHOT)
                distribute(run.optimizer, ThreadExchange(meeting, number))
                return run.steps(steps), run.space.digest()
            except BaseException:
                # Ends the wait of the other rank.
                meeting.barrier.abort()
                raise

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(rank, (0, 1)))


def distributed(subject: Subject) -> str:
    """On two ranks, records and weights are bit-identical to those of a single process."""
    if subject.method.card.order != "zeroth":
        raise Skip(f"order {subject.method.card.order!r}: asks for more than losses, or for none")
    alone = subject.start(engine=SNAPSHOT)
    if not isinstance(alone.optimizer, Method):
        raise Skip("not built on this library's template: its losses do not pass through an engine")
    if reason := subject.method.indivisible(alone.optimizer.config):
        raise Skip(reason)
    expected = alone.steps(4)
    for number, (records, digest) in enumerate(two_ranks(subject, 4)):
        expect(repr(records) == repr(expected), f"rank {number} has other records than a single process")
        expect(digest == alone.space.digest(), f"rank {number} has other weights than a single process")
    return "2 ranks = 1 process, 4 steps"
