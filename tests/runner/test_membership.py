"""Membership inference in a run: iterations, and token scores of training examples compared with new ones."""

from __future__ import annotations

import copy
import dataclasses
import functools
import random

import pytest
import torch

from zobench.attacks.base import AttackContext, Trained, Victim
from zobench.attacks.imia import Iterations, IterationsConfig, iterations
from zobench.data.example import Example
from zobench.metrics.two_samples import tpr_at_fpr
from zobench.models.loading import load
from zobench.plugins import lookup
from zobench.runner.token_scores import token_scores
from zobench.spec import ModelRef
from zobench.tasks.base import Prediction

SCORES = {"iterations", "loss", "zlib", "min_k", "min_k_plus_plus"}


def texts(prefix, n):
    return [
        Example(f"{prefix}{i}", {"text": f"wonderful actors carry every scene {i}"}, label=0)
        for i in range(n)
    ]


def values(rows):
    return {m.metric: m.value for m in rows}


def run(members, others, breaks_after, config=None):
    """A victim that answers wrongly from the given query of an example on, by the letter of its id."""
    asked: dict[str, int] = {}

    def predict(examples):
        found = []
        for e in examples:
            asked[e.id] = asked.get(e.id, 0) + 1
            right = asked[e.id] <= breaks_after[e.id[0]]
            found.append(Prediction(e.id, "", right, label=0 if right else 1))
        return found

    attack = Iterations(config or IterationsConfig(tries=6))
    victim = Victim(predict, weights_digest="d", sampled=True)
    trained = Trained(victim, AttackContext(("text",), (), 0), members, others, lambda rows: {})
    return attack.measures_of_training(trained)


def test_members_that_take_more_iterations_are_found():
    found = values(run(texts("m", 8), texts("o", 9), {"m": 5, "o": 2}))
    assert found == {"auc:iterations": 1.0}
    assert values(run(texts("m", 8), texts("o", 9), {"m": 2, "o": 5}))["auc:iterations"] == 0.0
    assert values(run(texts("m", 8), texts("o", 9), {"m": 99, "o": 99}))["auc:iterations"] == 0.5
    assert values(run(texts("m", 8), texts("o", 9), {"m": 1, "o": 0}))["auc:iterations"] == 1.0


def test_iterations_are_counted_from_the_first_edit():
    attack = Iterations(IterationsConfig(tries=4))

    def count(breaks):
        asked = []

        def predict(examples):
            asked.extend(examples)
            return [Prediction(e.id, "", len(asked) <= breaks, label=0) for e in examples]

        victim = Victim(predict, weights_digest="d", sampled=True)
        return iterations(attack.run(victim, texts("a", 1), AttackContext(("text",), (), 0)), 4)[0]

    assert [count(b) for b in (0, 1, 2, 4, 5, 99)] == [0, 1, 2, 4, 5, 5]


def test_low_false_positive_rates_are_refused_in_small_samples():
    config = IterationsConfig(tries=2, members=100)
    found = values(run(texts("m", 120), texts("o", 120), {"m": 2, "o": 1}, config))
    assert found == {"auc:iterations": 1.0, "tpr_at_1_fpr:iterations": 1.0}
    with pytest.raises(ValueError, match="needs 1000 non-members, not 999"):
        tpr_at_fpr([0.0], [1.0] * 999, 0.001)
    assert tpr_at_fpr([0.0, 5.0], [1.0] * 1000, 0.001) == 0.5
    members, others = [1.0, 2.0, 3.0, 4.0], [float(i) for i in range(1, 101)]
    assert tpr_at_fpr(members, others, 0.01) == 0.25
    assert tpr_at_fpr(members, others, 0.03) == 0.75
    with pytest.raises(ValueError, match="lie in"):
        tpr_at_fpr(members, others, 1.0)


@pytest.fixture(scope="module")
def overfitted():
    """nano after AdamW on rows with labels drawn at random: what it knows of them it has memorized."""
    lm = copy.copy(load(ModelRef(name="builtin:nano")))
    lm.module = copy.deepcopy(lm.module)
    made = lookup("tasks", "nano-topic")
    task = made(made.Config(k=6))
    drawn = random.Random(0)
    rows = [dataclasses.replace(e, label=drawn.randrange(6)) for e in task.splits(0).test[:108]]
    batch = task.batch(lm, rows[:36])
    optimizer = torch.optim.AdamW(lm.module.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        task.loss(lm, lm.module, batch).backward()
        optimizer.step()
    return task, lm, rows


def test_rows_that_nano_was_tuned_on_are_told_from_fresh_ones(overfitted):
    task, lm, rows = overfitted
    attack = Iterations(IterationsConfig(tries=8, members=36))
    victim = Victim(lambda rows: task.predict(lm, rows), weights_digest="d")
    context = AttackContext(task.attackable, task.protected, 0, lm)
    scores = functools.partial(token_scores, task, lm)
    trained = Trained(victim, context, rows[:36], rows[36:72], scores)
    found = values(attack.measures_of_training(trained))
    assert {m.partition(":")[2] for m in found} == SCORES
    assert found["auc:loss"] > 0.8
    assert found["auc:iterations"] > 0.8
    assert found["auc:loss"] == pytest.approx(found["auc:min_k"]), "one answer token: nothing to choose from"
    trained = Trained(victim, context, rows[36:72], rows[72:], scores)
    fresh = values(attack.measures_of_training(trained))
    assert abs(fresh["auc:loss"] - 0.5) < 0.2


def test_token_scores_are_those_of_the_answer_alone(overfitted):
    _, lm, _ = overfitted
    made = lookup("tasks", "nano-problems")
    task = made(made.Config())
    rows = list(task.splits(0).test[:3])
    found = token_scores(task, lm, rows)
    for i, row in enumerate(rows):
        context, whole = task.prompt.context(row), task.prompt.completed(row, task.target(row))
        start = len(lm.tokenizer(context)["input_ids"])
        ids = lm.tokenizer(whole)["input_ids"]
        with torch.inference_mode():
            log_p = lm.module(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        chosen = [float(log_p[t - 1, ids[t]]) for t in range(start, len(ids))]
        assert found["loss"][i] == pytest.approx(-sum(chosen) / len(chosen), abs=1e-4)
        assert found["min_k"][i] > found["loss"][i]
