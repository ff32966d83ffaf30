"""A sample of the random damages that ``.ci/nightly --surface damage`` makes by the thousand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from reliability import nightly_damage
from reliability.damage_trials import Opening, Running
from reliability.damaging import KINDS, WAYS, Base, Trial, damage, make_base
from reliability.damaging_newer import NEWER


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base(tmp_path_factory.mktemp("damage") / "base")


def test_kinds_of_file_damaged_and_read(base: Base, tmp_path: Path) -> None:
    opening = Opening(base, tmp_path, heavy=False)
    verdicts = [opening(Trial(number, seed=7)) for number in range(0, 3 * len(KINDS), 7)]
    assert [v for v in verdicts if not v.good] == []
    assert sum(bool(v.named) for v in verdicts) > len(verdicts) // 2


@pytest.mark.parametrize("kind", ["last checkpoint", "compacted steps"])
def test_damaged_and_run_to_the_end(base: Base, tmp_path: Path, kind: str) -> None:
    number = list(KINDS).index(kind)
    verdict = Running(base, tmp_path)(Trial(number, seed=7))
    assert verdict.good, verdict
    assert verdict.named == ["run"]


@pytest.mark.slow
def test_results_of_newer_kinds_damaged_and_read(tmp_path: Path) -> None:
    """Rewards, federated clients, pictures, flows: every kind of file in one way, one run to the end."""
    base, kinds = make_base(tmp_path / "base", NEWER), tuple(NEWER.kinds)
    opening = Opening(base, tmp_path, heavy=False)
    verdicts = [opening(Trial(number, 7, kinds)) for number in range(len(kinds))]
    verdicts.append(Running(base, tmp_path)(Trial(kinds.index("rounds of clients"), 7, kinds)))
    assert [v for v in verdicts if not v.good] == []
    assert sum(bool(v.named) for v in verdicts) > len(verdicts) // 2


def test_trials_are_fixed_by_number_and_seed_and_spread_over_kinds_and_ways() -> None:
    data = bytes(range(200))
    for way in WAYS:
        one, same = (damage(data, way, random.Random(1)) for _ in range(2))
        assert one == same != data
    cycle = len(KINDS) * len(WAYS)
    assert len({(Trial(n).kind, Trial(n).way) for n in range(cycle)}) == cycle
    assert len(KINDS) >= 18
    numbers = list(nightly_damage.order(190, 10))
    assert len(set(numbers)) == 200
    assert 4 <= sum(n >= nightly_damage.FIRST_RUN for n in numbers[:100]) <= 6
