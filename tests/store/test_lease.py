"""Leases: one owner, renewed while it lives, taken by one other when it does not."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zobench.store import lease
from zobench.store.lease import Lease, LeaseLost

LONG = 3600.0


def aged(path: Path, seconds: float) -> None:
    """Make the file older, as if its owner had been silent for so long."""
    stamp = path.stat().st_mtime - seconds
    os.utime(path, (stamp, stamp))


def test_one_owner_until_it_is_released(tmp_path: Path) -> None:
    first = Lease.acquire(tmp_path, "run", LONG)
    assert first is not None
    assert Lease.acquire(tmp_path, "run", LONG) is None
    assert Lease.acquire(tmp_path, "other", LONG) is not None
    first.check()
    first.release()
    assert Lease.acquire(tmp_path, "run", LONG) is not None


def test_a_silent_owner_loses_it_and_is_told(tmp_path: Path) -> None:
    silent = Lease.acquire(tmp_path, "run", LONG)
    assert silent is not None
    aged(tmp_path / "run", LONG / 2)
    assert Lease.acquire(tmp_path, "run", LONG) is None
    aged(tmp_path / "run", LONG)
    second = Lease.acquire(tmp_path, "run", LONG)
    assert second is not None
    silent._renew(0.0)
    with pytest.raises(LeaseLost, match="taken by another worker"):
        silent.check()
    silent.release()
    assert (tmp_path / "run").exists(), "it belongs to the other now"
    second.check()


def test_of_many_only_one_takes_an_old_lease(tmp_path: Path) -> None:
    for _ in range(20):
        assert Lease.acquire(tmp_path, "run", LONG) is not None
        aged(tmp_path / "run", 2 * LONG)
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda _: Lease.acquire(tmp_path, "run", LONG), range(8)))
        assert sum(one is not None for one in taken) == 1
        (tmp_path / "run").unlink()
    assert list(tmp_path.iterdir()) == [], "no drafts are left"


def test_a_lease_that_is_taken_meanwhile_is_left_to_its_new_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its age and the take-over; and it is never free for a third worker."""
    assert Lease.acquire(tmp_path, "run", LONG) is not None
    aged(tmp_path / "run", 2 * LONG)
    took: list[Lease | None] = []

    def older(path: Path, new: Path, seconds: float) -> bool:
        found = real(path, new, seconds)
        if not took:
            took.append(None)
            took[0] = Lease.acquire(tmp_path, "run", LONG)
        return found

    real = lease._older
    monkeypatch.setattr(lease, "_older", older)
    assert Lease.acquire(tmp_path, "run", LONG) is None
    (first,) = took
    assert first is not None
    assert lease._token(tmp_path / "run") == first._token
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_take_over_that_was_killed_delays_the_next_one_only(tmp_path: Path) -> None:
    assert Lease.acquire(tmp_path, "run", LONG) is not None
    left = tmp_path / f"run.{lease._token(tmp_path / 'run')}.next"
    left.touch()
    aged(tmp_path / "run", 3 * LONG)
    assert Lease.acquire(tmp_path, "run", LONG) is None
    aged(left, 2 * LONG)
    assert Lease.acquire(tmp_path, "run", LONG) is None
    assert Lease.acquire(tmp_path, "run", LONG) is not None
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_an_owner_renews_it(tmp_path: Path) -> None:
    owner = Lease.acquire(tmp_path, "run", 0.04)
    assert owner is not None
    aged(tmp_path / "run", 100)
    before = (tmp_path / "run").stat().st_mtime
    while (tmp_path / "run").stat().st_mtime == before:
        time.sleep(0.01)
    owner.release()
