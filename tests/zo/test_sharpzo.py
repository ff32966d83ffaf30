"""SharpZO against its formula: CMA-ES by the package alone, the subspace as an explicit matrix."""

from __future__ import annotations

import math

import pytest
import torch
from zo_lab import SEED, H, Steps, T, loss, same, step_seed

from zobench.plugins import missing_package
from zobench.zo import Objective, build_space, noise
from zobench.zo.blackbox.cma import CmaSearch
from zobench.zo.conformance.problems import quadratic
from zobench.zo.methods.sharpzo import Sharpzo

pytestmark = pytest.mark.skipif(bool(missing_package("sharpzo")), reason="needs the package cma")
D, N, G, SIGMA, EPS, RHO, STD = 6, 8, 3, 0.3, 1e-3, 0.1, 0.4
GIVEN = {
    "lr": SIGMA, "epsilon": EPS, "n": N, "generations": G, "dimension": D, "std": STD, "rho": RHO,
    "local_ratio": 0.05,
}  # fmt: skip


class Run(Steps):
    def __init__(self, **params) -> None:
        problem = quadratic()
        self.module = problem.make(torch.float64)
        self.space = build_space("names", {"include": ["*"]}, self.module)
        self.method = Sharpzo(Sharpzo.Config(**{**GIVEN, **params}), self.space, seed=SEED)
        self.objective = Objective(self.module, problem.loss)
        self.objective.set_batch(None, sequences=1, tokens=0)


def subspace() -> torch.Tensor:
    """A, 17 x D."""
    seed = noise.derive_seed("subspace", SEED)
    parts = [
        noise.sample((D, size), seed=seed, key=noise.tensor_key(f"{name}|subspace"), kind="gaussian")
        for name, size in (("matrix", 12), ("vector", 5))
    ]
    return STD * torch.cat(parts, dim=1).double().T


def test_sharpzo_is_cma_es_at_the_sharpest_point_and_then_spsa() -> None:
    lab = Run()
    a, theta = subspace(), lab.theta
    search, expected = CmaSearch(D, N, "full", SEED, "sharpzo", bound=12.5), []
    for t in range(G):
        g = torch.tensor(
            [(loss(theta + EPS * a[:, j]) - loss(theta - EPS * a[:, j])) / (2 * EPS) for j in range(D)]
        )
        e = RHO * g.double() / g.double().norm()
        asked, before = search.ask(), search.center()
        search.tell([loss(theta + a @ (SIGMA * (z - before) + e)) for z in asked])
        after = asked.mean(0) if t == G - 1 else search.center()
        theta = theta + a @ (SIGMA * (after - before))
        expected.append(theta)
    for t in range(G, G + 4):
        seed = step_seed(t, 0, "local")
        u = a @ noise.sample((D,), seed=seed, key=noise.tensor_key("local"), kind="gaussian").double()
        c = (loss(theta + EPS * u) - loss(theta - EPS * u)) / (2 * EPS)
        theta = theta - 0.05 * SIGMA * c * u
        expected.append(theta)
    same(lab.run(G + 4), expected, 1e-6)  # g and e by differences of losses
    assert float((H * (T - theta)).norm()) > 0


def test_forward_passes_and_the_mean_of_a_long_run() -> None:
    lab = Run()
    spent = []
    for _ in range(24):
        lab.run(1)
        spent.append(lab.record.forwards)
    assert spent == [N + 2 * D] * G + [2] * (24 - G)
    assert Sharpzo.cost(lab.method.config).forwards_per_step == pytest.approx(sum(spent) / 24)


def test_a_generation_without_a_finite_gradient_is_refused_and_counts() -> None:
    lab = Run()
    honest, calls = lab.objective._loss, iter(range(10**6))
    lab.objective._loss = lambda m, b: honest(m, b) * (math.nan if next(calls) == 3 else 1.0)
    before = lab.theta
    (after,) = lab.run(1)
    assert torch.equal(before, after)
    assert not lab.record.moved
    path = lab.run(G + 1)
    assert lab.record.forwards == 2, "the warm-up is over"
    assert not torch.equal(path[0], before)
