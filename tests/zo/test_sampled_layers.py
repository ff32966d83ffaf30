"""AdaLeZO and LOREN against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from zo_lab import SEED, STEPS, Lab, draw, flat, full, loss, same, slope, start, step_seed

from zobench.zo import noise

ONES = [flat(torch.ones(3, 4), torch.zeros(5)).double(), flat(torch.zeros(3, 4), torch.ones(5)).double()]


@pytest.mark.parametrize("clip", [1.2, 50.0])
def test_adalezo(clip: float) -> None:
    """On the quadratic, matrix and vector have no number: both are the rest, one group. With names of blocks
    they are two."""
    tau, gamma, a, lr, rate, k = 0.6, 0.1, 0.3, 0.05, 0.2, 2
    lab = Lab(
        "adalezo",
        lr=lr,
        ratio=1.0,
        temperature=tau,
        mixing=gamma,
        memory=a,
        clip=clip,
        weight_decay=rate,
        decay_rule="all",
    )
    assert lab.method.groups == [["matrix", "vector"]]
    lab.method.groups, lab.method.scores = [["matrix"], ["vector"]], [0.0, 0.0]
    theta, expected, q, weights = lab.theta, [], [0.0, 0.0], set()
    for t in range(STEPS):
        scaled = [x / (max(q) * tau) if max(q) else 0.0 for x in q]
        powers = [math.exp(x) for x in scaled]
        p = [(1 - gamma) * x / sum(powers) + gamma / 2 for x in powers]
        seed = step_seed(t, 0)
        us = [noise.derive_seed("group", seed, i) / 2**64 for i in range(k)]
        count = [sum(u < p[0] for u in us), sum(u >= p[0] for u in us)]
        z = full(seed)
        mask = sum(ONES[g] for g in range(2) if count[g])
        c = slope(theta, mask * z, 1e-3)
        step = torch.zeros(17, dtype=torch.float64)
        for g in range(2):
            if count[g]:
                w = count[g] * min(1 / (k * p[g]), clip)
                weights.add(round(w, 3))
                step = step + ONES[g] * (w * c * z + rate * theta)
                q[g] = (1 - a) * q[g] + a * abs(c)
        theta = theta - lr * step
        expected.append(theta)
    same(lab.run(), expected, 1e-7)
    assert len(weights) > 2


def test_with_probabilities_that_are_not_clipped_the_weights_are_unbiased() -> None:
    method, _, _ = start("adalezo", "full", {}, lr=0.0, ratio=0.5, clip=1e9)
    method.scores = [0.1 * i for i in range(len(method.groups))]
    p = method.probabilities()
    assert sum(p) == pytest.approx(1.0)
    assert len(set(p)) == len(p) == 3
    total = [0.0] * len(p)
    for i in range(4000):
        for g, w in method.drawn(noise.derive_seed("draw", i)).items():
            total[g] += w / 4000
    assert total == pytest.approx([1.0] * len(p), abs=0.12)


def test_groups_are_embeddings_blocks_and_the_rest() -> None:
    method, space, objective = start("adalezo", "full", {})
    assert method.groups[0] == ["embedding.weight"]
    assert [g[0].split(".")[:2] for g in method.groups[1:]] == [["layers", "0"], ["layers", "1"]]
    record = method.step(objective)
    drawn = {n for n in space if method.direction.touches(n, 0)}
    assert drawn
    assert set(space) - drawn
    assert any(key.startswith("group_") for key in record.extras)


class Tensor:
    """One tensor of LOREN: its curvature, and the matrix of its directions."""

    def __init__(self, name: str, shape: tuple[int, ...], rho: float) -> None:
        seed = noise.derive_seed("curvature", SEED)
        self.name, self.shape, self.rho = name, shape, rho
        self.a = draw(f"{name}/curvature", shape[-1:], seed)
        self.m = torch.zeros(shape, dtype=torch.float64)

    def root(self) -> torch.Tensor:
        """The matrix that maps u to x, built from its definition."""
        wide = self.a.expand(self.shape).reshape(-1)
        s = float(wide @ wide)
        k = (math.sqrt(self.rho) + math.sqrt(self.rho + s)) / (s * math.sqrt(self.rho + s))
        return torch.eye(len(wide), dtype=torch.float64) - k * torch.outer(wide, wide)


def test_the_directions_of_loren_have_the_stated_covariance() -> None:
    one = Tensor("matrix", (3, 4), 0.1)
    wide = one.a.expand(3, 4).reshape(-1)
    want = torch.linalg.inv(torch.eye(12, dtype=torch.float64) + torch.outer(wide, wide) / 0.1)
    assert torch.allclose(one.root() @ one.root().T, want, atol=1e-10)


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_loren(rate: float) -> None:
    n, eps, rho, lr, lra, beta = 3, 0.1, 0.5, 0.01, 0.7, 0.9
    lab = Lab(
        "loren",
        lr=lr,
        epsilon=eps,
        population=n,
        rho=rho,
        lr_curvature=lra,
        beta=beta,
        weight_decay=rate,
    )
    tensors = [Tensor("matrix", (3, 4), rho), Tensor("vector", (5,), rho)]
    theta, expected = lab.theta, []
    for t in range(STEPS):
        us = [[draw(x.name, x.shape, step_seed(t, k)) for x in tensors] for k in range(n)]
        xs = [[x.root() @ u.reshape(-1) for x, u in zip(tensors, row, strict=True)] for row in us]
        losses = [loss(theta + eps * torch.cat(row)) for row in xs]
        w = [x - sum(losses) / n for x in losses]
        parts = list(theta.split([12, 5]))
        for i, x in enumerate(tensors):
            for k in range(n):
                g = (w[k] * xs[k][i] / (eps * (n - 1))).reshape(x.shape)
                x.m = beta * x.m + g if i == 0 else g
                parts[i] = parts[i] - lr * (x.m.reshape(-1) + rate * parts[i])
            wide = x.a.expand(x.shape)
            s = float((wide**2).sum())
            total = torch.zeros_like(x.a)
            for k in range(n):
                u = us[k][i]
                along = float((wide * u).sum())
                factor = (math.sqrt(rho) + math.sqrt(rho + s)) * (along**2 - s) / (s * math.sqrt(rho + s))
                q = along * u - wide - factor * wide
                rows = q.sum(0) if i == 0 else q
                total = total + w[k] * eps**2 * rows / (math.sqrt(rho + s) * (n - 1)) + rate * x.a
            x.a = x.a - lra * total
        theta = torch.cat(parts)
        expected.append(theta)
    same(lab.run(), expected, 1e-7)
    moved = lab.method.direction.a["matrix"]
    assert torch.allclose(moved, tensors[0].a, rtol=1e-6)
    assert not torch.allclose(moved, draw("matrix/curvature", (4,), noise.derive_seed("curvature", SEED)))
