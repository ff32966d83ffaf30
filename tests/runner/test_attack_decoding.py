"""Attacks in a run on the built-in model: the sampled preset with its repeats, and answers stored on disk."""

from __future__ import annotations

import numpy as np
import pytest

from zobench.attacks.char_typos import CharTypos, CharTyposConfig
from zobench.attacks.mscr import MSCR, MSCRConfig
from zobench.attacks.similarity import SentenceSimilarity
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.runner.attacking import ANSWERS, attack_all, task_target
from zobench.runner.results import Measured, TaskData
from zobench.spec import Budget, Component, Evaluation, ModelRef, RunSpec


@pytest.fixture(scope="module")
def scene():
    lm = load(ModelRef(name="builtin:nano"))
    made = lookup("tasks", "nano-problems")
    task = made(made.Config())
    splits = task.splits(0)

    def attacked(name, *attacks, seed=0, encoder=None):
        spec = RunSpec(
            model=ModelRef(name="builtin:nano"),
            task=Component(name="nano-problems"),
            method=Component(name="none"),
            seed=seed,
            budget=Budget(forwards=0),
            evaluation=Evaluation(test_items=4, attack_similarity=encoder),
            attacks=tuple(Component(name=name, alias=f"{name} {i}") for i in range(len(attacks))),
            attack_items=4,
        )
        data = TaskData(task, "k", splits, "d")
        examples = splits.test[:4]
        predictions = task.predict(lm, examples, ())
        measured = Measured("test", examples, predictions, task.metrics(examples, predictions))
        target = task_target(spec, lm, data, measured)
        return attack_all(spec, attacks, lm, target, "digest-of-weights")

    return attacked


@pytest.mark.slow
@pytest.mark.wordnet
def test_the_published_preset_is_sampled_three_times(scene):
    attack = MSCR(MSCRConfig(masked=False, wordnet=False, judge="task", budget=6))
    result = scene("mscr", attack)
    ids = [r["example_id"] for r in result.rows if r["condition_kind"] == "attack"]
    assert len(ids) == len(set(ids)) == 12
    assert ids[4:8] == [f"{i}#2" for i in ids[:4]]
    metrics = {(m["condition_kind"], m["metric"]): m for m in result.metrics}
    assert metrics["attack", "accuracy_before"]["n"] == 12
    assert metrics["null", "queries_total"]["value"] > 12
    assert metrics["attack", "cache_hits"]["value"] == 0, "a sampled answer is never a repeat"
    again = scene("mscr", attack)
    assert again.rows == result.rows
    assert scene("mscr", attack, seed=1).rows != result.rows


def test_answers_kept_between_runs_change_nothing_but_the_work(scene, tmp_path, monkeypatch):
    attack = CharTypos(CharTyposConfig(tries=2))
    without = scene("char-typos", attack)
    monkeypatch.setenv(ANSWERS, str(tmp_path / "kept"))
    first, second = scene("char-typos", attack), scene("char-typos", attack)
    assert (tmp_path / "kept" / "answers.sqlite").is_file()
    assert first.rows == second.rows == without.rows
    assert first.metrics == second.metrics == without.metrics
    assert without.predictions >= first.predictions > second.predictions == 0


def test_the_attacks_of_a_run_share_their_answers_and_nothing_else_changes(scene):
    every, some = CharTypos(CharTyposConfig(tries=3)), CharTypos(CharTyposConfig(tries=2))
    apart = [scene("char-typos", attack) for attack in (every, some)]
    together = scene("char-typos", every, some)

    def of(result, label):
        named = [r for r in (*result.rows, *result.metrics) if r["condition"] == label]
        return [{k: v for k, v in r.items() if k != "condition"} for r in named]

    assert of(together, "char-typos 0") == of(apart[0], "char-typos 0")
    assert of(together, "char-typos 1") == of(apart[1], "char-typos 0")
    assert together.predictions == apart[0].predictions, "the shorter attack asks the same first texts"
    assert apart[1].predictions > 0


@pytest.mark.parametrize("encoder", [None, "letters"])
def test_successful_edits_are_compared_by_the_encoder_of_the_suite(scene, monkeypatch, encoder):
    def letters(texts):
        counts = np.array([[t.count(chr(c)) for c in range(97, 123)] for t in texts], dtype=float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def by_name(name):
        assert name == "letters"
        return SentenceSimilarity(letters)

    monkeypatch.setattr("zobench.attacks.similarity.load_similarity", by_name)
    result = scene("char-typos", CharTypos(CharTyposConfig(tries=3, edits=6)), encoder=encoder)
    won = [r for r in result.rows if r["outcome"] == "success"]
    assert won
    assert all(r["similarity"] is None for r in result.rows if r["outcome"] != "success")
    means = {m["condition_kind"]: m for m in result.metrics if m["metric"] == "similarity"}
    if encoder is None:
        assert all(r["similarity"] is None for r in won)
        assert all(m["n"] == 0 for m in means.values())
    else:
        expected = [float(np.dot(*letters([r["original"], r["edited"]]))) for r in won]
        assert [r["similarity"] for r in won] == pytest.approx(expected)
        assert 0.5 < means["attack"]["value"] < 1
