"""First-order baselines against closed forms on a quadratic, and the schedule that ends with zeroth-order
steps.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zobench.plugins import lookup
from zobench.zo import Objective
from zobench.zo.methods.first_order_signs import on_grid
from zobench.zo.space import build_space

CURVATURE = torch.tensor([1.0, 4.0, 0.25], dtype=torch.float64)
START = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)


class Bowl(nn.Module):
    """L = sum a_i theta_i^2 / 2, so the gradient is a * theta and the Hessian diag(a)."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(START.clone())

    def forward(self):
        return (CURVATURE * self.theta**2).sum() / 2


def one(name, steps=1, **params):
    """The move of ``steps`` steps and what the method was."""
    module = Bowl()
    method = lookup("methods", name)
    optimizer = method(method.Config(**params), build_space("full", {}, module), seed=3)
    objective = Objective(module, lambda m, batch: m())
    objective.set_batch(None, sequences=1, tokens=1)
    records = [optimizer.step(objective) for _ in range(steps)]
    return (module.theta.detach() - START), optimizer, records


def test_sign_sgd_moves_every_entry_by_the_rate():
    move, _, _ = one("sign-sgd", lr=0.1)
    assert torch.allclose(move, -0.1 * (CURVATURE * START).sign())


def test_sign_adam_takes_the_sign_of_the_first_moment():
    adam, _, _ = one("adam", lr=0.1)
    sign, _, _ = one("sign-adam", lr=0.1)
    assert torch.equal(sign.sign(), adam.sign())
    assert torch.allclose(sign.abs(), torch.full_like(sign, 0.1))


def test_adam_is_adamw_without_decay():
    assert torch.equal(one("adam", 5, lr=0.1)[0], one("adamw", 5, lr=0.1)[0])


def test_a_quantized_moment_lies_on_its_grid_and_many_bits_are_nearly_adam():
    _, optimizer, _ = one("quantized-adam", 3, lr=0.1, bits=2)
    m = optimizer.updater.state["first"]["theta"]
    assert torch.equal(m, on_grid(m, 2, 3))
    assert len(set((m / m.abs().max()).round(decimals=6).tolist()) - {-1.0, 0.0, 1.0}) == 0
    fine, _, _ = one("quantized-adam", 3, lr=0.1, bits=8)
    worst = 3 * 0.1 * 8 / 254
    """Three steps of 0.1 whose moment is off by half a grid step: 8 is the largest entry, 1 the smallest."""
    assert torch.allclose(fine, one("adam", 3, lr=0.1)[0], rtol=0, atol=worst)


def test_grids_round_by_block():
    values = torch.tensor([100.0, 49.0, 0.3, 0.1])
    assert on_grid(values, 2, 2).tolist() == pytest.approx([100.0, 0.0, 0.3, 0.0])
    assert torch.equal(on_grid(torch.zeros(5), 8, 2), torch.zeros(5))


def test_sam_takes_the_gradient_at_the_ascent_point():
    _, optimizer, _ = one("sam", lr=0.1, rho=0.5)
    g = CURVATURE * START
    expected = CURVATURE * (START + 0.5 * g / g.norm())
    found = optimizer.updater.state["first"]["theta"] / (1 - 0.9)
    assert torch.allclose(found, expected)


def test_the_penalty_has_a_gradient():
    _, optimizer, _ = one("gradient-penalty", lr=0.1, rho=0.5, mu=1e-3)
    g = CURVATURE * START
    expected = g + 0.5 * CURVATURE * g / g.norm()
    found = optimizer.updater.state["first"]["theta"] / (1 - 0.9)
    assert torch.allclose(found, expected, rtol=1e-6)


def test_smoothing_averages_gradients_around_theta():
    _, optimizer, _ = one("randomized-smoothing", lr=0.1, sigma=1.0, n=400)
    found = optimizer.updater.state["first"]["theta"] / (1 - 0.9)
    spread = CURVATURE / 400**0.5
    assert ((found - CURVATURE * START).abs() < 5 * spread).all(), "the mean over N(0, 1) displacements"
    assert (found - CURVATURE * START).abs().max() > 1e-3, "it did look around"


def test_sophia_divides_by_curvature_and_clips():
    _, optimizer, records = one("sophia", 1, lr=0.1, gamma=1.0)
    h = optimizer.updater.state["curvature"]["theta"] / (1 - 0.99)
    assert torch.allclose(h, CURVATURE, rtol=1e-6), "u * Hu is the diagonal for a diagonal Hessian"
    assert records[0].forwards == 9
    sure, _, _ = one("sophia", 1, lr=0.1)
    assert torch.allclose(sure, -0.1 * START.sign()), "m / (gamma h) above 1 is clipped"
    _, _, later = one("sophia", 11, lr=0.1)
    assert [r.forwards for r in later] == [9, *[3] * 9, 9]


def test_the_schedule_alternates_and_ends_on_zeroth_order():
    _, optimizer, records = one("alternating", 16, lr=0.01, n_first=3, n_zeroth=2, rounds=2)
    assert [r.extras["may_stop"] for r in records] == [0, 0, 0, 1, 1] * 2 + [1] * 6
    assert [bool(r.seeds) for r in records] == [r.extras["may_stop"] == 1 for r in records]
    assert [r.step for r in records] == list(range(16))
    assert (optimizer.first.t, optimizer.zeroth.t) == (6, 10)


def test_the_schedule_refuses_other_parts():
    with pytest.raises(ValueError, match="zeroth must be one of"):
        lookup("methods", "alternating").Config(zeroth="adamw")
