"""Objectives without a gradient, end to end: accuracy and F1 of a classifier, token F1 of generated text."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from zobench.plugins import lookup
from zobench.zo import Objective, build_space, replay
from zobench.zo.conformance.problems import logistic, transformer

SEED = 5


def accuracy(predicted: torch.Tensor, gold: torch.Tensor) -> float:
    return float((predicted == gold).double().mean())


def f1(predicted: torch.Tensor, gold: torch.Tensor) -> float:
    """F1 of the positive class."""
    hits = int((predicted & gold).sum())
    return 2 * hits / max(1, int(predicted.sum()) + int(gold.sum()))


def token_f1(answer: list[int], gold: list[int]) -> float:
    """Harmonic mean of precision and recall over bags of tokens, as SQuAD scores answers."""
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold))


def learned(name: str, module, loss, batch, size: int, forwards: int, **params: object):
    """Score before and after, records, and the digest that replay of the records must give."""
    cls = lookup("methods", name)
    space = build_space("full", {}, module)
    start = space.snapshot()
    optimizer = cls(cls.Config(**params), space, seed=SEED)
    objective = Objective(module, loss, differentiable=False)
    objective.set_batch(batch, sequences=size, tokens=0)
    before, records = -objective.loss(), []
    while objective.meter.forwards < forwards:
        records.append(optimizer.step(objective))
    after, digest = -objective.loss(), space.digest()
    space.restore(start)
    assert replay(records, space, cls, cls.Config(**params), seed=SEED) == digest
    return before, after, records


@pytest.mark.parametrize("score", [accuracy, f1], ids=["accuracy", "f1"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mezo", {"lr": 0.3, "epsilon": 0.3}),
        ("fzoo", {"lr": 0.05, "epsilon": 0.3}),
        ("es", {"lr": 0.3, "sigma": 0.3}),
        ("one-point", {"lr": 0.1, "epsilon": 0.3}),
    ],
)
def test_a_classifier_learns_from_its_score_alone(score, name: str, params: dict) -> None:
    problem = logistic()

    def loss(module: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        return -score(module(batch[0]) > 0, batch[1] > 0.5)

    module = problem.make(torch.float32)
    before, after, records = learned(name, module, loss, problem.batch, 32, 600, **params)
    assert after >= max(0.85, before + 0.2)
    ties = [r for r in records if len(set(r.losses)) == 1 and len(r.losses) > 1]
    assert all(r.reason if name in ("es", "fzoo") else r.extras["ties"] == 1.0 for r in ties)


@pytest.mark.parametrize(
    ("name", "params"),
    [("mezo", {"lr": 0.05, "epsilon": 0.3, "n": 4}), ("es", {"lr": 0.1, "sigma": 0.2, "population": 16})],
)
def test_a_transformer_learns_from_the_f1_of_what_it_generates(name: str, params: dict) -> None:
    """Four prompts of two tokens, two generated greedily; the gold answer is the prompt backwards."""
    prompts = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]])

    def loss(module: torch.nn.Module, batch: torch.Tensor) -> float:
        text = batch
        for _ in range(2):
            text = torch.cat([text, module(text)[:, -1].argmax(dim=1, keepdim=True)], dim=1)
        answers = text[:, 2:].tolist()
        golds = batch.flip(1).tolist()
        return -sum(token_f1(a, g) for a, g in zip(answers, golds, strict=True)) / len(answers)

    before, after, _ = learned(name, transformer().make(torch.float32), loss, prompts, 4, 1600, **params)
    assert after >= before + 0.25
