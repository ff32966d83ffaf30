"""Diagnostics against closed forms on quadratics and matrices with known spectra."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zobench.zo import Engine, Objective, build_space
from zobench.zo import diagnostics as d
from zobench.zo.directions import Gaussian, Rademacher, groups_by_layer
from zobench.zo.source import CounterSource

SIZE = 12


class Bowl(nn.Module):
    """1/2 sum h_i theta_i^2 + <g, theta>, float64."""

    def __init__(self, bend: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3))
        self.b = nn.Parameter(torch.linspace(0.5, 1.5, 6, dtype=torch.float64))
        self.h = bend * torch.arange(1, SIZE + 1, dtype=torch.float64)
        self.g = torch.linspace(-2, 2, SIZE, dtype=torch.float64)

    def forward(self) -> torch.Tensor:
        theta = torch.cat([self.a.reshape(-1), self.b])
        return (0.5 * self.h * theta**2 + self.g * theta).sum()


def probe(module: Bowl, directions: int) -> d.Probe:
    objective = Objective(module, lambda m, batch: m())
    objective.set_batch(None, sequences=1, tokens=0)
    space = build_space("full", {}, module)
    return d.Probe(objective, space, radius=1e-3, directions=directions, seed=3)


def test_gradient_of_the_tuned_entries():
    module = Bowl(1.0)
    p = probe(module, 2)
    g = d.tuned_gradient(p.objective, p.space)
    flat = torch.cat([g["a"].reshape(-1), g["b"]])
    theta = torch.cat([module.a.reshape(-1), module.b])
    assert torch.allclose(flat, module.h * theta + module.g, rtol=1e-12)
    assert p.objective.meter.forwards == 3


@pytest.mark.parametrize(("kind", "fourth"), [(Gaussian, 3.0), (Rademacher, 1.0)])
def test_variance_of_a_linear_loss_is_the_known_one(kind, fourth):
    """sum_i Var[(u u^T g)_i] = (d + fourth - 2) |g|^2 for independent entries of unit variance."""
    module = Bowl(0.0)
    many = 3000
    p = probe(module, many)
    (reading,) = p.variance(kind(CounterSource(p.space)))
    expected = (SIZE + fourth - 2) * float(module.g.square().sum())
    assert reading.n == many
    assert p.objective.meter.forwards == 2 * many
    # the spread of one |c u|^2 is at most 3 times its mean here: 4 standard errors
    assert abs(reading.value / expected - 1) < 4 * 3 / math.sqrt(many)


def test_curvature_along_directions_is_that_of_the_hessian():
    module = Bowl(0.7)
    p = probe(module, 5)
    mean, most = p.sharpness()
    gaussian = p.engine.gaussian()
    exact = []
    for seed in p.seeds:
        u = torch.cat([gaussian.tensor("a", seed).reshape(-1), gaussian.tensor("b", seed)])
        exact.append(float((u * module.h * u).sum() / (u * u).sum()))
    assert mean.value == pytest.approx(sum(exact) / 5, rel=1e-5)
    assert most.value == pytest.approx(max(exact), rel=1e-5)
    assert mean.n == 5
    assert p.objective.meter.forwards == 11


def test_looking_writes_no_weight():
    module = Bowl(0.7)
    p = probe(module, 3)
    before = p.space.digest()
    p.sharpness()
    p.variance(Gaussian(CounterSource(p.space)))
    d.tuned_gradient(p.objective, p.space)
    assert p.space.digest() == before
    assert all(q.grad is None and q.requires_grad for q in module.parameters())


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_of_equal_singular_values_is_their_number(rank):
    q, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    assert d.effective_rank(3.0 * q[:, :rank] @ q[:rank, :]) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_of_two_singular_values():
    matrix = torch.diag(torch.tensor([3.0, 1.0, 0.0]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert d.effective_rank(matrix) == pytest.approx(math.exp(entropy), rel=1e-6)
    assert math.isnan(d.effective_rank(torch.zeros(3, 3)))


def test_only_matrices_have_a_rank():
    tensors = {"m": torch.eye(4), "v": torch.ones(4), "row": torch.ones(1, 4), "zero": torch.zeros(3, 3)}
    (reading,) = d.rank_reading("r", tensors)
    assert (reading.value, reading.n) == (pytest.approx(4.0), 1)
    assert d.rank_reading("r", {"v": torch.ones(4)}) == []


def test_cosine():
    a, b = {"x": torch.tensor([1.0, 0.0])}, {"x": torch.tensor([3.0, 4.0])}
    assert d.cosine(a, b) == pytest.approx(0.6)
    assert math.isnan(d.cosine(a, {"x": torch.zeros(2)}))


def test_an_engine_of_its_own_draws_what_the_run_draws():
    """The variance is that of the method's directions: same seed, same tensor, whichever source."""
    module = Bowl(1.0)
    p = probe(module, 2)
    other = Engine().bind(p.space, 99).gaussian()
    for name in p.space:
        assert torch.equal(other.tensor(name, 7), p.engine.gaussian().tensor(name, 7))
    assert groups_by_layer(list(p.space)) == [["a"], ["b"]]
