"""CSAM: the tempered loss, its bound, and the use of its gradient by the method."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Objective
from zobench.zo.methods.csam import tempered
from zobench.zo.space import build_space

GAMMAS = (0.5, 1.0, 2.0)
ROWS = torch.tensor([[3.0, 1.0], [-2.0, 0.5], [0.1, -0.2], [4.0, -4.0]], dtype=torch.float64)
SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
START = torch.tensor([0.7, -0.3], dtype=torch.float64)


class Logistic(nn.Module):
    """Losses log(1 + exp(-y theta.x)); some examples are confident, some not, the last one is wrong."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(START.clone())

    def forward(self, theta=None):
        theta = self.theta if theta is None else theta
        return nn.functional.softplus(-SIGNS * (ROWS @ theta))


def first_gradient(name, items=True, **params):
    """The gradient that the first step takes, from Adam's first moment."""
    module = Logistic()
    method = lookup("methods", name)
    optimizer = method(method.Config(lr=0.1, **params), build_space("full", {}, module), seed=3)
    objective = Objective(
        module, lambda m, batch: m().mean(), items=(lambda m, batch: m()) if items else None
    )
    objective.set_batch(None, sequences=4, tokens=4)
    record = optimizer.step(objective)
    assert record.forwards == objective.meter.forwards == 6
    assert record.loss == pytest.approx(Logistic()().mean().item())
    assert not torch.equal(module.theta.detach(), START)
    return optimizer.updater.state["first"]["theta"] / (1 - 0.9)


def ascent_point(rho):
    theta = START.clone().requires_grad_()
    [g] = torch.autograd.grad(Logistic()(theta).mean(), theta)
    return (START + rho * g / g.norm()).requires_grad_()


@pytest.mark.parametrize("gamma", [0.0, *GAMMAS])
def test_the_factor_is_differentiated_and_only_confident_examples_have_one(gamma):
    losses = torch.tensor([2.0, 0.9, 0.6, 0.3, 0.05], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda ls: tempered(ls, gamma), losses)
    p = (-losses.detach()).exp()
    assert torch.equal(tempered(losses, gamma)[:2], losses[:2]), "p of e^-0.9 is below one half"
    expected = (1 + p[2:]) ** -gamma * losses[2:]
    assert torch.allclose(tempered(losses, gamma)[2:], expected)


def test_the_papers_bound_follows_from_the_formula():
    """c(l~) >= l - lambda H(p) + (1 - gamma/2) H(p~) wherever 1/2 < p~ <= p < 1."""

    def entropy(p):
        return -p * p.log() - (1 - p) * (1 - p).log()

    draws = torch.Generator().manual_seed(0)
    low, high = torch.rand(2, 20_000, generator=draws, dtype=torch.float64).sort(0).values / 2 + 0.5
    after, before = low.clamp(0.5001, 0.9999), high.clamp(0.5001, 0.9999)
    for gamma in (0.0, *GAMMAS):
        bound = (
            -before.log() - (1 - after) / (1 - before) * entropy(before) + (1 - gamma / 2) * entropy(after)
        )
        assert (tempered(-after.log(), gamma) >= bound - 1e-12).all()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_step_takes_the_gradient_of_the_tempered_loss_at_the_ascent_point(gamma):
    theta = ascent_point(0.2)
    [expected] = torch.autograd.grad(tempered(Logistic()(theta), gamma).mean(), theta)
    found = first_gradient("csam", rho=0.2, gamma=gamma)
    assert torch.allclose(found, expected)
    assert not torch.allclose(found, first_gradient("sam", rho=0.2), rtol=1e-2)


def test_without_gamma_it_is_sam():
    assert torch.allclose(first_gradient("csam", rho=0.2, gamma=0.0), first_gradient("sam", rho=0.2))


def test_a_loss_of_the_minibatch_alone_is_the_geometric_mean_of_its_probabilities():
    theta = ascent_point(0.2)
    [expected] = torch.autograd.grad(tempered(Logistic()(theta).mean().reshape(1), 1.0).mean(), theta)
    assert torch.allclose(first_gradient("csam", items=False, rho=0.2, gamma=1.0), expected)


def test_confident_right_examples_are_pushed_less_than_by_sam():
    """One confident example: the same direction, a shorter gradient, so its confidence grows more slowly."""
    loss = torch.tensor([0.1], dtype=torch.float64, requires_grad=True)
    slopes = [float(torch.autograd.grad(tempered(loss, g).sum(), loss)[0]) for g in (0.0, 0.5, 1.0, 2.0)]
    assert slopes[0] == 1
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[-1] > 0


def test_gamma_has_bounds():
    with pytest.raises(ValueError, match=r"gamma must be a number in \[0, 2\]"):
        lookup("methods", "csam").Config(gamma=2.5)
