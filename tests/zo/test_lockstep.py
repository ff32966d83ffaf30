"""Calls that take turns: all reach a stop before any leaves it."""

from __future__ import annotations

import threading

import pytest
import torch

from zobench.zo.lockstep import Turns


def walker(lockstep: Turns, seen: list[str], name: str, stops: int):
    def walk() -> float:
        for stop in range(stops):
            lockstep.arrive()
            seen.append(f"{name}{stop}")
        return float(stops)

    return walk


def test_calls_go_from_stop_to_stop_together() -> None:
    lockstep, seen = Turns(), []
    calls = [walker(lockstep, seen, name, 3) for name in "abc"]
    assert lockstep.run(calls) == [3.0, 3.0, 3.0]
    assert seen == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]
    assert not lockstep.busy


def test_calls_with_fewer_stops_leave_the_others_going() -> None:
    lockstep, seen = Turns(), []
    calls = [walker(lockstep, seen, name, stops) for name, stops in (("a", 1), ("b", 3), ("c", 0))]
    assert lockstep.run(calls) == [1.0, 3.0, 0.0]
    assert sorted(seen) == ["a0", "b0", "b1", "b2"]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_error_ends_all_calls_and_is_raised(bad: int) -> None:
    lockstep, seen, before = Turns(), [], threading.active_count()

    def failing() -> float:
        lockstep.arrive()
        raise KeyError("loss")

    calls = [walker(lockstep, seen, name, 5) for name in "abc"]
    calls[bad] = failing
    with pytest.raises(KeyError, match="loss"):
        lockstep.run(calls)
    assert len(seen) <= 4
    assert threading.active_count() == before
    assert lockstep.run([walker(lockstep, seen, "d", 2)] * 2) == [2.0, 2.0]


def test_every_call_multiplies_with_as_many_threads() -> None:
    lockstep = Turns()
    found = lockstep.run([lambda: float(torch.get_num_threads())] * 3)
    assert set(found) == {float(torch.get_num_threads())}
