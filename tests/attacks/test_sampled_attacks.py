"""Attacks on sampled answers: the published preset of MSCR, its judge, repetitions, and random baselines."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from attack_fakes import context, example, predict_with
from attack_models import fake_lm

from zobench.attacks.base import Victim
from zobench.attacks.char_typos import CharTypos
from zobench.attacks.judges import check_judge
from zobench.attacks.mscr import MSCR, ControlledMSCR, MSCRConfig
from zobench.attacks.repeats import run_repeats

TEXT = "the quick little house near the river does not have many visitors"
LM = fake_lm()
SEEN: list[tuple[str, str]] = []


def always_right(original, edited, prediction):
    SEEN.append((original.text["sentence"], edited))
    return False


def unlucky(wrong_on):
    """Answers wrongly at these numbers of queries, whatever the text."""
    predict = predict_with(lambda e: 0.1 if e.meta.get("query", 0) in wrong_on else 0.9)
    seen = []

    def answer(examples):
        seen.extend((e.text["sentence"], e.meta["query"]) for e in examples)
        return predict(examples)

    return answer, seen


def sampled_run(attack, wrong_on, budget=None):
    answer, seen = unlucky(wrong_on)
    victim = Victim(answer, weights_digest="d", sampled=True, budget_per_example=budget)
    [record] = attack.run(victim, [example("a", TEXT)], context(lm=LM))
    return record, seen


def test_presets_as_published_and_controlled():
    assert MSCR().decoding() == (0.6, 3)
    assert MSCR().null().decoding() == (0.6, 3)
    assert ControlledMSCR().decoding() == (0.0, 1)
    assert (MSCR().config.judge, ControlledMSCR().config.judge) == ("again", "task")
    assert CharTypos().decoding() == (0.0, 1)


@pytest.mark.wordnet
def test_the_null_under_sampling_asks_the_same_text_again():
    attack = MSCR()
    tried, seen = sampled_run(attack, {})
    control, again = sampled_run(attack.null(), {})
    assert {t for t, _ in again} == {TEXT}
    assert control.queries == tried.queries == len(seen) == len(again) > 20
    assert len({t for t, _ in seen}) == len(seen)
    lucky, _ = sampled_run(attack.null(), {7, 8, 9, 10})
    assert lucky.outcome == "success", "sampling noise alone wins: what the null is there to measure"


@pytest.mark.wordnet
@pytest.mark.parametrize(
    ("wrong", "outcome"), [({5, 6, 7}, "success"), ({5, 6}, "failure"), ({5}, "failure")]
)
def test_the_judge_asks_again_and_wants_most_answers_wrong(wrong, outcome):
    record, seen = sampled_run(MSCR(), wrong)
    assert (record.outcome, record.queries) == (outcome, 8)
    winning = seen[4][0]
    assert [t for t, _ in seen[5:]] == [winning] * 3
    assert record.reason == ("" if outcome == "success" else "refused by the judge")
    assert record.final.correct == (outcome == "failure")


@pytest.mark.wordnet
def test_budget_holds_with_the_judge():
    record, seen = sampled_run(MSCR(MSCRConfig(budget=8)), {5, 6, 7, 8}, budget=8)
    assert record.outcome == "success"
    assert record.queries == len(seen) == 8
    record, seen = sampled_run(MSCR(MSCRConfig(budget=8)), {}, budget=8)
    assert len(seen) == 5, "three of eight are kept for a judge that was never needed"


@pytest.mark.wordnet
def test_a_judge_of_ones_own():
    SEEN.clear()
    record, seen = sampled_run(MSCR(MSCRConfig(judge=f"{__name__}:always_right")), {5})
    assert (record.outcome, record.reason) == ("failure", "refused by the judge")
    assert [(TEXT, seen[4][0])] == SEEN
    plain, _ = sampled_run(MSCR(MSCRConfig(judge="task")), {5})
    assert (plain.outcome, plain.queries) == ("success", 5)
    with pytest.raises(ValueError, match="neither 'task'"):
        MSCRConfig(judge="qwen")
    with pytest.raises(ValueError, match="cannot load"):
        sampled_run(MSCR(MSCRConfig(judge=f"{__name__}:nobody")), {5})
    check_judge("package.module:function")


@pytest.mark.wordnet
def test_repetitions_have_samples_and_draws_of_their_own():
    made = []

    def victim(temperature, seed):
        answer, seen = unlucky({})
        made.append((temperature, seed, seen))
        return Victim(answer, weights_digest="d", sampled=True)

    attack = MSCR(MSCRConfig(masked=False, wordnet=False))
    records, queries = run_repeats(attack, victim, [example("a", TEXT), example("b", TEXT)], context(lm=LM))
    assert [r.example_id for r in records] == ["a", "b", "a#2", "b#2", "a#3", "b#3"]
    assert [m[0] for m in made] == [0.6] * 3
    assert len({m[1] for m in made}) == 3
    assert made[0][1] == context().seed
    assert queries.total == queries.unique == queries.computed == sum(len(m[2]) for m in made)


@pytest.fixture(scope="module")
def nano():
    from zobench.models.loading import load
    from zobench.spec import ModelRef

    return load(ModelRef(name="builtin:nano"))


def numbered(examples, query):
    return [dataclasses.replace(e, meta={**e.meta, "query": query}) for e in examples]


@pytest.mark.parametrize("name", ["nano-problems", "nano-sentiment"])
def test_sampled_answers_depend_on_seed_and_query_alone(nano, name):
    from zobench.plugins import lookup
    from zobench.tasks.sampling import sampled_predict

    made = lookup("tasks", name)
    task = made(made.Config())
    rows = list(task.splits(0).test[:6])
    predict = sampled_predict(task, nano, (), temperature=1.5, seed=3)

    def said(rows, query=1):
        return [(p.raw, p.output, p.correct) for p in predict(numbered(rows, query))]

    together = said(rows)
    assert together == said(rows)
    assert together[:1] == said(rows[:1])
    assert any(said(rows, q) != together for q in range(2, 6))
    cold = sampled_predict(task, nano, (), temperature=1e-4, seed=3)
    greedy = task.predict(nano, rows)
    assert [p.output for p in cold(numbered(rows, 1))] == [p.output for p in greedy]


@pytest.mark.wordnet
def test_what_cannot_be_sampled_is_refused(nano):
    from zobench.models.sampled import SampledModel
    from zobench.tasks.sampling import sampled_predict

    with pytest.raises(ValueError, match="cannot be sampled"):
        sampled_predict(SimpleNamespace(kind="other"), nano, (), temperature=1.0, seed=0)
    with pytest.raises(ValueError, match="above 0"):
        SampledModel(nano, 0.0, [1]).generate(["a"], max_new_tokens=2)
    with pytest.raises(ValueError, match="needs its own"):
        SampledModel(nano, 1.0, [1]).generate(["a", "b"], max_new_tokens=2)


def test_draws_follow_the_tempered_softmax():
    import torch

    from zobench.models.sampled import Draws

    logits = torch.tensor([2.0, 0.0, -1.0, 1.0])
    many = 4000
    tokens = Draws(0.7, range(many))(logits.expand(many, 4), range(many))
    share = torch.bincount(tokens, minlength=4) / many
    expected = (logits / 0.7).softmax(0)
    assert (share - expected).abs().max() < 4 * (0.25 / many) ** 0.5
