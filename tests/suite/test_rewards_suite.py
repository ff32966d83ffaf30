"""Rewards in a suite file: refusals with the key, files resolved and pinned, identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from zobench.spec import identifying
from zobench.suite import SuiteError, expand, load
from zobench.trained_on import RewardRef

SUITE = """\
suite: rewards
models: {{m: {{name: "builtin:nano-countdown"}}}}
tasks: {{{task}: {{}}}}
methods: {{row: {{method: {method}, train_on: {reward}{more}}}}}
seeds: [1]
budget: {{forwards: 60, batch_size: 4}}
"""
OWN = "def score(prompt, answer, example, weight=1):\n    return weight\n"


def read(folder: Path, reward: str, method: str = "mezo", task: str = "countdown", more: str = ""):
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(reward=reward, method=method, task=task, more=more), encoding="utf-8")
    return load(path)


def spec(folder: Path, reward: str, **kind: str):
    (planned,) = expand(read(folder, reward, **kind)).runs
    return planned.spec


@pytest.mark.parametrize(
    ("reward", "kind", "message"),
    [
        ("{reward: contdown}", {}, "methods.row.train_on.reward: unknown reward 'contdown'; did you mean"),
        ("{reward: countdown, params: {form: x}}", {}, "methods.row.train_on.params.form: must be"),
        ("{reward: countdown, samples: 2}", {}, "train_on.samples: greedy answers are all equal"),
        ("{reward: countdown, temperature: -1}", {}, "train_on.temperature: must be"),
        ("{reward: countdown, tempo: 1}", {}, "train_on.tempo: unknown key"),
        ("{name: countdown}", {}, "key 'reward' is missing"),
        ("[countdown]", {}, "must be loss, accuracy, f1, {reward: NAME} or"),
        ("{reward: countdown, file: x.py}", {}, "train_on.file: is set by zobench"),
        ("{reward: countdown}", {"task": "nano-topic"}, "task 'nano-topic' generates no answers"),
        ("{reward: countdown}", {"method": "adamw"}, "from several sampled answers"),
        ("{reward: countdown}", {"method": "forward-gradient"}, "needs a gradient"),
        ("{reward: countdown, temperature: 1.0, samples: 2}", {"method": "sophia"}, "needs a gradient"),
        ("{reward: countdown}", {"method": "none"}, "takes no steps; add 'best_of: 8'"),
        ("{reward: countdown}", {"more": ", best_of: 4"}, "methods.row.best_of: needs a temperature above 0"),
        ("loss", {"more": ", best_of: 4"}, "methods.row.best_of: needs a reward to choose by"),
        ("{reward: countdown}", {"more": ", perturbation: grouped"}, "grouped cannot generate answers"),
        ("{reward: countdown}", {"more": ", budget: {micro_batch: 2}"}, "cannot be computed in parts"),
        ('{reward: "other.py:score"}', {}, "train_on.reward: no file"),
        ('{reward: "own.py:scores"}', {}, "no function 'scores'; did you mean 'score'"),
        ('{reward: "own.py:score", sha256: abc}', {}, "train_on.sha256: "),
    ],
)  # fmt: skip
def test_refusals_name_the_key(tmp_path: Path, reward: str, kind: dict[str, str], message: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(SuiteError) as caught:
        read(tmp_path, reward, **kind)
    assert message in str(caught.value)


def test_a_file_is_pinned_by_its_content_and_not_by_its_path(tmp_path: Path) -> None:
    ids = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "own.py").write_text(OWN)
        found = spec(folder, '{reward: "own.py:score", params: {weight: 2}}')
        ref = found.train_on
        assert isinstance(ref, RewardRef)
        assert Path(ref.file).resolve() == (folder / "own.py").resolve()
        assert ref.reward == "own.py:score"
        assert type(found).model_validate_json(found.model_dump_json()) == found
        ids.add(found.run_id(identifying("m", "d")))
    (tmp_path / "b" / "own.py").write_text(OWN + "\n")
    changed = spec(tmp_path / "b", '{reward: "own.py:score", params: {weight: 2}}')
    assert len(ids) == 1
    assert changed.run_id(identifying("m", "d")) not in ids


def test_planning_does_not_execute_the_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    read(tmp_path, '{reward: "own.py:score"}')
    assert not (tmp_path / "ran").exists()


def test_settings_of_the_reward_are_part_of_the_identity(tmp_path: Path) -> None:
    rewards = [
        "{reward: countdown}",
        "{reward: countdown, temperature: 1.0}",
        "{reward: countdown, temperature: 1.0, samples: 2}",
        "{reward: countdown, params: {format_weight: 0.2}}",
        "{reward: exact}",
        "loss",
    ]
    ids = {spec(tmp_path, reward).run_id(identifying("m", "d")) for reward in rewards}
    assert len(ids) == len(rewards)


def test_first_order_methods_and_best_of_are_accepted(tmp_path: Path) -> None:
    spec(tmp_path, "{reward: countdown, temperature: 1.0, samples: 2}", method="adamw")
    chosen = spec(tmp_path, "{reward: countdown, temperature: 1.0}", method="none", more=", best_of: 4")
    assert (chosen.best_of, chosen.budget.forwards) == (4, 0)
