"""Averaging, curvature and gradient penalties and SAM as optimizers: what they do in closed form, and that
gradients really flow through the penalties on an unlearning objective."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from unlearning_models import Toy, batch

from zobench.plugins import lookup
from zobench.unlearning import terms
from zobench.unlearning.base import Batch, loss_function
from zobench.unlearning.smoothness import curvature_penalty, gradient, gradient_penalty, sam
from zobench.zo import Objective
from zobench.zo.space import build_space


def forget(module):
    return -terms.mean_nll(module, batch().part("forget"))


def measured(name, module, **params):
    """The gradient that the optimizer takes on gradient ascent of the forget set."""
    method, target = lookup("methods", name), lookup("objectives", "grad-ascent")
    objective = target()
    optimizer = method(method.Config(**params), build_space("full", {}, module), seed=1)
    metered = Objective(module, loss_function(objective))
    metered.set_batch(Batch({"forget": batch().part("forget")}), sequences=2, tokens=12)
    found = optimizer.measured(metered)[1]
    assert metered.meter.forwards == method.cost(method.Config(**params)).forwards_per_step
    return found


def flat(values):
    return torch.cat([v.detach().flatten() for v in values.values()])


@pytest.mark.parametrize(
    ("name", "params", "exact"),
    [
        ("gradient-penalty", {"rho": 0.7, "mu": 1e-6}, lambda m: gradient_penalty(forget, m, 0.7)),
        ("curvature-penalty", {"rho": 0.7, "mu": 1e-4}, lambda m: curvature_penalty(forget, m, 0.7)),
    ],
)
def test_penalties_of_the_optimizers_are_those_that_autograd_differentiates(name, params, exact):
    module = Toy(1)
    before = flat(dict(module.named_parameters()))
    found, expected = flat(measured(name, module, **params)), flat(gradient(exact, module)[1])
    plain = flat(gradient(forget, module)[1])
    assert torch.equal(before, flat(dict(module.named_parameters())))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-4)
    assert (expected - plain).norm() > 1e-2 * plain.norm(), "the penalty moves the gradient"
    assert (found - expected).norm() < 0.02 * (expected - plain).norm()


def test_sam_as_an_optimizer_takes_the_gradient_at_the_ascent_point():
    module = Toy(1)
    torch.testing.assert_close(flat(measured("sam", module, rho=0.05)), flat(sam(forget, module, 0.05)))


class Line(nn.Module):
    """L = theta: every gradient is 1, so Adam's steps are all lr."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(1, dtype=torch.float64))


def averaged(steps, lr=1.0, **params):
    module, method = Line(), lookup("methods", "weight-averaging")
    space = build_space("full", {}, module)
    optimizer = method(method.Config(lr=lr, delta=1e-300, **params), space, seed=0)
    objective = Objective(module, lambda m, b: m.theta.sum())
    objective.set_batch(None, sequences=1, tokens=1)
    seen = []
    for _ in range(steps):
        optimizer.step(objective)
        seen.append(module.theta.item())
    return seen, optimizer, objective


def test_the_model_is_the_mean_of_the_weights_that_count():
    seen, _, _ = averaged(8, start=2, every=2)
    # Trained weights are -1, -2, ...; those after steps 3, 5 and 7 count, theta itself stands before them.
    assert seen == pytest.approx([-1, -2, -3, -3, -4, -4, -5, -5])


def test_averaging_goes_on_from_a_checkpoint_to_the_same_bits():
    whole, _, _ = averaged(7, start=2, every=2)
    _, half, objective = averaged(4, start=2, every=2)
    again = lookup("methods", "weight-averaging")
    resumed = again(half.config, half.space, seed=0)
    resumed.load_state_dict(half.state_dict())
    found = []
    for _ in range(3):
        resumed.step(objective)
        found.append(objective.module.theta.item())
    assert found == whole[4:]


def test_averaging_without_a_step_size_moves_nothing():
    assert averaged(5, lr=0.0, start=1, every=1)[0] == [0.0] * 5
