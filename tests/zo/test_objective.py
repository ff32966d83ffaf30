"""The objective: cost of each query, refusals, and equivalent forms of the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zobench.zo import BudgetExhausted, Engine, Meter, Objective, build_space
from zobench.zo.conformance.problems import quadratic, transformer
from zobench.zo.methods.mezo import Mezo


def lab(budget: int | None = None):
    problem = transformer()
    module = problem.make(torch.float64).eval()
    objective = Objective(module, problem.loss, Meter(budget))
    objective.set_batch(problem.batch, sequences=4, tokens=24)
    return objective, build_space("full", {}, module)


def test_meter_counts_loss_one_jvp_two_gradient_three_branches_n() -> None:
    objective, space = lab()
    objective.loss()
    objective.jvp({name: torch.ones_like(space.entries(name)) for name in space})
    objective.gradient(space.tensors)
    objective.branches({name: torch.stack([space.entries(name)] * 5) for name in space})
    meter = objective.meter
    assert (meter.forwards, meter.sequences, meter.tokens) == (11, 44, 264)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_of_the_loss_is_known_however_it_was_queried(dtype: torch.dtype) -> None:
    module = nn.Linear(3, 1, bias=False).to(dtype)
    row = torch.ones(1, 3, dtype=dtype)
    for query in ("loss", "branches"):
        objective = Objective(module, lambda m, batch: m(batch).sum())
        objective.set_batch(row, sequences=1, tokens=3)
        values = {"weight": torch.stack([module.weight.detach()] * 2)}
        assert objective.loss() if query == "loss" else objective.branches(values)
        assert objective.loss_dtype == dtype


def test_inference_mode_changes_no_loss_and_no_trajectory() -> None:
    ends = []
    for inference in (False, True):
        problem = transformer()
        module = problem.make(torch.float64).eval()
        seen: list[bool] = []

        def loss(m: torch.nn.Module, batch: Any, seen: Any = seen, problem: Any = problem) -> torch.Tensor:
            seen.append(torch.is_inference_mode_enabled())
            return problem.loss(m, batch)

        objective = Objective(module, loss, inference=inference)
        objective.set_batch(problem.batch, sequences=4, tokens=24)
        space = build_space("full", {}, module)
        method = Mezo(Mezo.Config(lr=1e-3), space, seed=0)
        losses = [method.step(objective).loss for _ in range(5)]
        assert seen == [inference] * len(seen)
        assert seen
        ends.append((losses, space.digest()))
    assert ends[0] == ends[1]


def test_branches_equal_one_by_one() -> None:
    objective, space = lab()
    direction = Engine().bind(space, 0).gaussian()
    stacked = {
        n: torch.stack([space.entries(n) + 0.1 * direction.tensor(n, s) for s in range(4)]) for n in space
    }
    together = objective.branches(stacked)
    alone = []
    for i in range(4):
        space.restore({name: stacked[name][i] for name in space})
        alone.append(objective.loss())
    assert together == pytest.approx(alone, rel=1e-12)
    assert len(set(together)) == 4


def test_jvp_is_the_gradient_along_the_tangent_and_touches_nothing() -> None:
    objective, space = lab()
    digest = space.digest()
    direction = Engine().bind(space, 0).gaussian()
    loss, slope = objective.jvp({name: direction.tensor(name, 4) for name in space})
    again, grads = objective.gradient(space.tensors)
    assert loss == again
    along = sum(float((direction.tensor(n, 4).double() * grads[n].double()).sum()) for n in grads)
    assert slope == pytest.approx(along, rel=1e-10)
    assert space.digest() == digest
    assert all(p.grad is None for p in space.tensors.values())


def test_gradient_leaves_requires_grad_as_it_was() -> None:
    objective, space = lab()
    first = next(iter(space))
    space.tensors[first].requires_grad_(False)
    objective.gradient(space.tensors)
    assert [p.requires_grad for p in space.tensors.values()] == [False] + [True] * (len(space) - 1)


@pytest.mark.parametrize("ask", ["loss", "jvp", "gradient", "branches"])
def test_an_exhausted_budget_books_nothing(ask: str) -> None:
    objective, space = lab(budget=0)
    arguments = {
        "loss": (),
        "jvp": ({n: torch.ones_like(space.entries(n)) for n in space},),
        "gradient": (space.tensors,),
        "branches": ({n: space.entries(n)[None] for n in space},),
    }
    with pytest.raises(BudgetExhausted, match="0 of 0 left"):
        getattr(objective, ask)(*arguments[ask])
    assert objective.meter.forwards == objective.meter.tokens == 0


def test_losses_that_are_plain_numbers_train_and_refuse_derivatives() -> None:
    """Accuracy-type objectives: MeZO runs, equal losses are ties, derivatives do not exist."""
    problem = quadratic()
    module = problem.make(torch.float32)
    objective = Objective(module, lambda m, b: round(float(problem.loss(m, b)), 1), differentiable=False)
    objective.set_batch(None, sequences=1, tokens=0)
    space = build_space("full", {}, module)
    method = Mezo(Mezo.Config(lr=0.01, epsilon=0.05), space, seed=0)
    before = objective.loss()
    records = [method.step(objective) for _ in range(100)]
    assert objective.loss() < 0.5 * before
    assert all(r.moved for r in records)
    ties = [r for r in records if r.losses[0] == r.losses[1]]
    assert 0 < len(ties) == sum(r.extras.get("ties") == 1.0 for r in records)
    for ask, argument in (("jvp", {}), ("gradient", space.tensors)):
        with pytest.raises(ValueError, match="not differentiable"):
            getattr(objective, ask)(argument)


def test_empty_minibatches_are_refused() -> None:
    objective, _ = lab()
    with pytest.raises(ValueError, match="empty minibatch"):
        objective.set_batch([], sequences=0, tokens=0)
    fresh = Objective(objective.module, lambda m, b: 0.0)
    with pytest.raises(ValueError, match="no minibatch"):
        fresh.loss()


class AttentionWithDropout(nn.Module):
    """Dropout by a rate of the module's own, as transformers' attention modules have it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_dropout = 0.1
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x * self.weight, self.attention_dropout, self.training)


VARYING = {
    "dropout": (nn.Dropout(0.2), r"1 \(Dropout, p=0.2\)"),
    "attention dropout": (AttentionWithDropout(), r"attention_dropout=0.1"),
    "batch norm": (nn.BatchNorm1d(4), "running statistics"),
    "random slopes": (nn.RReLU(), "RReLU"),
}


@pytest.mark.parametrize("kind", VARYING)
def test_a_model_in_training_mode_whose_branches_differ_is_refused_unless_asked(kind: str) -> None:
    part, message = VARYING[kind]
    model = nn.Sequential(nn.Linear(4, 4), part).train()

    def loss(module: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return module(batch).square().mean()

    objective, batch = Objective(model, loss), torch.ones(8, 4)
    with pytest.raises(ValueError, match=message):
        objective.set_batch(batch, sequences=8, tokens=0)
    asked = Objective(model, loss, allow_train_mode=True)
    asked.set_batch(batch, sequences=8, tokens=0)
    asked.loss()
    model.eval()
    objective.set_batch(batch, sequences=8, tokens=0)
    assert objective.loss() == objective.loss()
    model[1].train()
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        objective.set_batch(batch, sequences=8, tokens=0)


def test_training_mode_without_a_part_that_varies_is_no_problem() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Dropout(0.0)).train()
    objective = Objective(model, lambda module, batch: module(batch).square().mean())
    objective.set_batch(torch.ones(8, 4), sequences=8, tokens=0)
    assert objective.loss() == objective.loss()
