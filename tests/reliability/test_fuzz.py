"""A batch of each surface that ``.ci/nightly --surface NAME`` tries by the thousand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import strategies as st
from reliability import fuzzing, nightly_fuzz
from reliability.fuzz_attacks import ATTACKS, NAMES
from reliability.fuzzing import Surface, refusals, run_batch

WORDS = (
    "textfooler",
    "bert-attack",
    "pwws",
    "clare",
    "textbugger",
    "deepwordbug",
    "random-candidates",
    "imia",
)
SMALL = [
    pytest.param(s, id=s.name, marks=[pytest.mark.wordnet] if s.name.split()[-1].startswith(WORDS) else [])
    for s in (*nightly_fuzz.SINGLE.values(), *ATTACKS)
]


@pytest.mark.parametrize("surface", SMALL)
def test_a_batch_of_every_surface(surface: Surface, tmp_path: Path) -> None:
    batch = run_batch(surface, 1_000_003, surface.small, tmp_path)
    assert batch.failures == []
    assert batch.tries == surface.small


def test_every_attack_is_fuzzed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "attacks"))
    from attack_cases import CASES

    assert set(NAMES) == set(CASES)


def _surface(check: object) -> Surface:
    return Surface("toy", 20, 5, 5, lambda folder: (st.integers(), check))  # type: ignore[return-value]


def test_trials_are_continued_and_counted(tmp_path: Path) -> None:
    seen: list[int] = []

    def check(value: int) -> str:
        seen.append(value)
        return "accepted" if value % 2 else "refused"

    toy = _surface(check)
    assert fuzzing.count(fuzzing.go_on(toy, tmp_path, 10, 5)) == 5
    found = fuzzing.go_on(toy, tmp_path, 10, toy.tries)
    assert fuzzing.count(found) == len(seen) == 20
    assert [b["number"] for b in found] == [0, 1, 2, 3]
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 4
    assert fuzzing.summary(toy, found).startswith("toy: 20 tries of 20: accepted ")
    first = seen[:5]
    seen.clear()
    run_batch(toy, 0, 5, tmp_path)
    assert seen == first, "a batch has the same inputs every time"


def test_whatever_is_raised_is_a_failure_with_its_input(tmp_path: Path) -> None:
    def check(value: int) -> str:
        raise RuntimeError("a defect")

    found = fuzzing.go_on(_surface(check), tmp_path, 10, 5)
    (batch,) = found
    assert batch["outcomes"] == {"failed": 5}
    assert "a defect" in batch["failures"][0]["error"]
    assert json.loads(fuzzing.summary(_surface(check), found).splitlines()[1])["input"]


@pytest.mark.parametrize(
    "error", [ValueError(""), ValueError("x" * 20_000), KeyError("k"), ValueError("other")]
)
def test_a_refusal_must_say_something_and_name_the_file(error: Exception) -> None:
    with pytest.raises((AssertionError, KeyError)), refusals("file.yaml"):
        raise error


def test_a_refusal_that_names_the_file_passes() -> None:
    with refusals("file.yaml") as told:
        raise ValueError("file.yaml:1: wrong")
    assert told == ["file.yaml:1: wrong"]
