"""A reward in a Python file: its process, its time limit, its failures, its digest."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from zobench import plugins
from zobench.data.example import Example
from zobench.plugin_code import plugin_parts, uses_plugins
from zobench.rewards.base import Answered
from zobench.rewards.making import made
from zobench.rewards.own import OwnReward, check_function, digest_of
from zobench.spec import Budget, Component, ModelRef, RunSpec
from zobench.trained_on import RewardRef

SOURCE = """\
import sys
import time

print("imported")

def score(prompt, answer, example, weight=1.0):
    print("scoring", answer)
    if answer == "hang":
        time.sleep(60)
    if answer == "exit":
        sys.exit(3)
    if answer == "raise":
        raise KeyError("no")
    if answer == "nan":
        return float("nan")
    return weight * len(answer) + len(example["text"]["question"]) + example["meta"]["n"]
"""

PLUGGED = """\
from dataclasses import dataclass

from zobench.rewards.base import Reward


@dataclass(frozen=True)
class VowelsConfig:
    weight: float = 1.0


class Vowels(Reward):
    Config = VowelsConfig

    def score(self, one):
        return self.config.weight * sum(one.answer.count(v) for v in "aeiou")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reward.py"
    path.write_text(SOURCE)
    return path


def own(file: Path, seconds: float = 30.0, **params: object) -> OwnReward:
    return OwnReward(file, "score", digest_of(file), params, seconds)


def asked(*answers: str) -> list[Answered]:
    return [Answered("p", a, Example("e", {"question": "1234"}, meta={"n": 0.5})) for a in answers]


def test_it_is_called_with_prompt_answer_example_and_parameters(file: Path) -> None:
    assert [s.value for s in own(file, weight=2.0).scores(asked("ab", ""))] == [8.5, 4.5]


def test_what_fails_counts_zero_and_the_next_answer_is_scored(file: Path) -> None:
    found = own(file).scores(asked("raise", "nan", "exit", "ab"))
    assert [s.value for s in found] == [0, 0, 0, 6.5]
    assert [bool(s.failure) for s in found] == [True, True, True, False]
    assert "KeyError" in found[0].failure


def test_the_time_limit_stops_an_answer_that_hangs(file: Path) -> None:
    found = own(file, seconds=0.5).scores(asked("ab", "hang", "ab"))
    assert [s.value for s in found] == [6.5, 0, 6.5]
    assert "0.5 s" in found[1].failure


def test_a_changed_file_is_refused(file: Path) -> None:
    digest = digest_of(file)
    file.write_text(SOURCE + "\n")
    with pytest.raises(ValueError, match="has changed since the run was planned"):
        OwnReward(file, "score", digest, {}, 1.0)


def test_a_file_that_cannot_be_imported_is_named(file: Path) -> None:
    file.write_text("import not_there\ndef score(p, a, e): return 1\n")
    with pytest.raises(ValueError, match=r"reward\.py cannot be imported: ModuleNotFoundError"):
        own(file).scores(asked("a"))


def test_a_file_is_executed_only_with_permission(file: Path) -> None:
    ref = RewardRef(reward="reward.py:score", file=str(file), sha256=digest_of(file))
    with pytest.raises(ValueError, match="--trust-code"):
        made(ref, own_code=False)
    with pytest.raises(ValueError, match="--trust-code"):  # a record without the path is not trusted either
        made(ref.model_copy(update={"file": ""}), own_code=False)
    assert made(ref, own_code=True).scores(asked("ab"))[0].value == 6.5


def test_the_function_is_looked_up_without_running_the_file(file: Path, tmp_path: Path) -> None:
    file.write_text("def score(p, a, e): return 1\nopen('ran', 'w')\nraise SystemExit\n")
    check_function(file, "score")
    with pytest.raises(ValueError, match="no function 'scor'; did you mean 'score'"):
        check_function(file, "scor")
    assert not (tmp_path / "ran").exists()


def test_a_package_offers_rewards_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugged_reward.py").write_text(PLUGGED)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("vowels", "plugged_reward:Vowels", "zobench.rewards")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])
    reward = made(RewardRef(reward="vowels", params={"weight": 2.0}), own_code=False)
    assert [s.value for s in reward.scores(asked("banana", "x"))] == [6.0, 0.0]
    spec = RunSpec(
        model=ModelRef(name="builtin:nano"),
        task=Component(name="countdown"),
        method=Component(name="mezo"),
        seed=1,
        budget=Budget(forwards=2),
        train_on=RewardRef(reward="vowels"),
    )
    assert plugin_parts(spec) == [("rewards", "vowels")]
    assert uses_plugins(spec)
