"""Low-rank and subspace methods against their papers' arithmetic: direct float64 matrices, refresh steps
included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from zo_lab import (
    SEED,
    H,
    Lab,
    M,
    N,
    T,
    basis_seed,
    factor,
    flat,
    frame,
    grid,
    loss,
    same,
    slope,
    step_seed,
    vector,
)

from zobench.zo import Objective

STEPS = 7
EVERY = 3
EPS = 1e-3


def parts(theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return theta[: M * N].reshape(M, N), theta[M * N :]


@pytest.mark.parametrize("scale", ["code", "paper"])
def test_lozo(scale: str) -> None:
    r, lr = 2, 0.01
    lab = Lab("lozo", lr=lr, epsilon=EPS, rank=r, interval=EVERY, scale=scale)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        u = factor("left", (M, r), step_seed(t, 0))
        v = factor("right", (N, r), basis_seed(t // EVERY))
        z = vector(step_seed(t, 0))
        c = slope(theta, flat(u @ v.T, z), EPS)
        theta = theta - lr * c * flat(u @ v.T / (r if scale == "paper" else 1), z)
        expected.append(theta)
    same(lab.run(STEPS), expected)


def test_lozo_m_moves_its_momentum_over_to_a_new_basis() -> None:
    r, lr, beta = 2, 0.01, 0.9
    lab = Lab("lozo-m", lr=lr, epsilon=EPS, rank=r, interval=EVERY, momentum=beta)
    theta, expected, kept, vectors = lab.theta, [], None, None
    v = factor("right", (N, r), basis_seed(0))
    for t in range(STEPS):
        u, z = factor("left", (M, r), step_seed(t, 0)), vector(step_seed(t, 0))
        new = factor("right", (N, r), basis_seed(t // EVERY))
        if kept is not None and t % EVERY == 0:
            kept = kept @ v.T @ new / N
        v = new
        c = slope(theta, flat(u @ v.T, z), EPS)
        kept = c * u if kept is None else beta * kept + (1 - beta) * c * u
        vectors = c * z if vectors is None else beta * vectors + (1 - beta) * c * z
        theta = theta - lr * flat(kept @ v.T, vectors)
        expected.append(theta)
    same(lab.run(STEPS), expected)


def test_subzero() -> None:
    r, lr = 2, 0.02
    lab = Lab("subzero", lr=lr, epsilon=EPS, rank=r, interval=EVERY)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        left = frame("left", (M, r), basis_seed(t // EVERY))
        right = frame("right", (N, r), basis_seed(t // EVERY))
        seed = step_seed(t, 0)
        inner = factor("inner", (r, r), seed)
        u = flat((M * N / r**2) ** 0.5 * grid(left @ inner) @ right.T, vector(seed))
        theta = theta - lr * slope(theta, u, EPS) * u
        expected.append(theta)
    same(lab.run(STEPS), expected)


@pytest.mark.parametrize("name", ["tezo", "tezo-m", "tezo-adam"])
def test_tezo(name: str) -> None:
    r, lr, b1, b2, delta = 3, 0.01, 0.9, 0.99, 1e-8
    given = {"tezo": {}, "tezo-m": {"beta1": b1}, "tezo-adam": {"beta1": b1, "beta2": b2, "delta": delta}}
    lab = Lab(name, lr=lr, epsilon=EPS, rank=r, **given[name])
    theta, expected = lab.theta, []
    u, v = factor("left", (M, r), basis_seed(0)), factor("right", (N, r), basis_seed(0))
    a = b = torch.zeros(r, dtype=torch.float64)
    am = bm = torch.zeros(5, dtype=torch.float64)
    for t in range(STEPS):
        seed = step_seed(t, 0)
        tau, z = factor("time", (r,), seed), vector(seed)
        kappa = slope(theta, flat(grid(u * tau) @ v.T, z), EPS)
        a, am = b1 * a + (1 - b1) * kappa * tau, b1 * am + (1 - b1) * kappa * z
        b, bm = b2 * b + (1 - b2) * (kappa * tau) ** 2, b2 * bm + (1 - b2) * (kappa * z) ** 2
        if name == "tezo":
            step = kappa * flat(grid(u * tau) @ v.T, z)
        elif name == "tezo-m":
            step = flat(u @ a.diag() @ v.T, am)
        else:
            first, second = 1 - b1 ** (t + 1), 1 - b2 ** (t + 1)
            below = sum(float(b[s]) / second * torch.outer(u[:, s] ** 2, v[:, s] ** 2) for s in range(r))
            step = flat(
                u @ (a / first).diag() @ v.T / (below.sqrt() + delta),
                am / first / ((bm / second).sqrt() + delta),
            )
        theta = theta - lr * step
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-8)


def by_singular_values(matrix: torch.Tensor, way: str) -> torch.Tensor:
    """The same map as an odd function of singular values: the quintic applied five times, or 1."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    x = s / (matrix.norm() + 1e-7)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return u @ (torch.ones_like(s) if way == "svd" else x).diag() @ v


@pytest.mark.parametrize("way", ["newton-schulz", "svd"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_zo_muon(way: str, decay: float) -> None:
    """Several samples share one P, on refresh steps too."""
    r, lr, n, share = 2, 0.05, 3, 0.2
    lab = Lab(
        "zo-muon",
        lr=lr,
        epsilon=EPS,
        n=n,
        rank=r,
        interval=EVERY,
        orthogonalize=way,
        vector_scale=share,
        weight_decay=decay,
    )
    theta, expected = lab.theta, []
    for t in range(STEPS):
        p = frame("rows", (M, r), basis_seed(t // EVERY))
        inner = [factor("inner", (r, N), step_seed(t, i)) for i in range(n)]
        zs = [vector(step_seed(t, i)) for i in range(n)]
        deltas = [
            (loss(theta + EPS * flat(p @ w, z)) - loss(theta)) / EPS for w, z in zip(inner, zs, strict=True)
        ]
        mean = sum(d * w for d, w in zip(deltas, inner, strict=True)) / n
        matrix, vectors = parts(theta)
        step = flat(
            p @ by_singular_values(mean, way) + decay * matrix,
            share * (sum(d * z for d, z in zip(deltas, zs, strict=True)) / n + decay * vectors),
        )
        theta = theta - lr * step
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-8)


def test_zo_muon_adds_1e7_to_the_norm() -> None:
    """A loss so small that ||R|| is of the size of the guard: the authors' step shrinks with it."""
    r, lr, scale, eps = 2, 0.3, 1e-7, 0.1
    lab = Lab("zo-muon", lr=lr, epsilon=eps, n=1, rank=r, interval=EVERY, vector_scale=0.0)
    lab.objective = Objective(lab.module, lambda module, batch: scale * loss(lab.theta))
    lab.objective.set_batch(None, sequences=1, tokens=0)
    theta, norms = lab.theta.numpy().copy(), []
    curvature, target = H.numpy(), T.numpy()

    def quadratic_loss(x: np.ndarray) -> float:
        return float(0.5 * (curvature * (x - target) ** 2).sum())

    for t in range(6):
        lab.method.step(lab.objective)
        p = frame("rows", (M, r), basis_seed(t // EVERY)).numpy()
        w, z = factor("inner", (r, N), step_seed(t, 0)).numpy(), vector(step_seed(t, 0)).numpy()
        ahead = theta + eps * np.concatenate([(p @ w).ravel(), z])
        delta = scale * (quadratic_loss(ahead) - quadratic_loss(theta)) / eps
        norms.append(np.linalg.norm(delta * w))
        x = delta * w / (norms[-1] + 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        theta[: M * N] -= lr * (p @ x).ravel()
        assert np.allclose(lab.theta.numpy(), theta, rtol=0, atol=1e-7), f"step {t}"
    assert min(norms) < 1e-6, "the guard must matter somewhere"


def test_zo_muon_default_rate_of_vectors_is_the_authors() -> None:
    config = Lab("zo-muon").method.config
    assert config.lr * config.vector_scale == pytest.approx(1e-7)


def test_subspace_mezo() -> None:
    r, lr, share = 2, 0.05, 0.3
    lab = Lab("subspace-mezo", lr=lr, epsilon=EPS, rank=r, interval=EVERY, vector_scale=share)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        p = frame("rows", (M, r), basis_seed(t // EVERY))
        w, z = factor("inner", (r, N), step_seed(t, 0)), vector(step_seed(t, 0))
        theta = theta - lr * slope(theta, flat(p @ w, z), EPS) * flat(p @ w, share * z)
        expected.append(theta)
    same(lab.run(STEPS), expected)


@pytest.mark.parametrize("mirrored", [False, True])
def test_eggroll(mirrored: bool) -> None:
    r, lr, sigma, count = 2, 5.0, 1e-2, 6
    lab = Lab("eggroll", lr=lr, sigma=sigma, population=count, rank=r, mirrored=mirrored)
    theta, expected = lab.theta, []
    for t in range(STEPS):
        members = []
        for i in range(count // (2 if mirrored else 1)):
            seed = step_seed(t, i)
            both = factor("factors", (M + N, r), seed)
            a, b = both[:M], both[M:]
            e = flat(a @ b.T / r**0.5, vector(seed))
            members += [e, -e] if mirrored else [e]
        losses = torch.tensor([loss(theta + sigma * e) for e in members], dtype=torch.float64)
        scores = (losses - losses.mean()) / (losses.var(unbiased=False) + 1e-5).sqrt()
        step = sigma * count**0.5 / count * sum(float(w) * e for w, e in zip(scores, members, strict=True))
        theta = theta - lr * step
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-8)
    assert lab.record.forwards == count


@pytest.mark.parametrize("sides", ["one", "two"])
def test_zo_mopi(sides: str) -> None:
    """Momentum stands when the basis changes, and the singular directions start anew; one power iteration a
    step."""
    r, k, lr, n, beta, share = 2, 1, 0.05, 2, 0.8, 0.2
    settings = {"rank": r, "interval": EVERY, "directions": k, "momentum": beta, "vector_scale": share}
    lab = Lab("zo-mopi", lr=lr, epsilon=EPS, n=n, sides=sides, **settings)
    theta, expected, kept, vectors = lab.theta, [], None, None
    for t in range(STEPS):
        p = frame("rows", (M, r), basis_seed(t // EVERY))
        if t % EVERY == 0:
            right = frame("warm", (N, k), SEED)
        inner = [factor("inner", (r, N), step_seed(t, i)) for i in range(n)]
        zs = [vector(step_seed(t, i)) for i in range(n)]
        us = [flat(p @ w, z) for w, z in zip(inner, zs, strict=True)]
        if sides == "two":
            cs = [slope(theta, u, EPS) for u in us]
        else:
            cs = [(loss(theta + EPS * u) - loss(theta)) / EPS for u in us]
        fresh = sum(c * w for c, w in zip(cs, inner, strict=True)) / n
        moved = sum(c * z for c, z in zip(cs, zs, strict=True)) / n
        kept = fresh if kept is None else beta * kept + (1 - beta) * fresh
        vectors = moved if vectors is None else beta * vectors + (1 - beta) * moved
        right = kept.T @ kept @ right
        right = right / right.norm()
        left = kept @ right
        theta = theta - lr * flat(p @ (left / left.norm()) @ right.T, share * vectors)
        expected.append(theta)
    same(lab.run(STEPS), expected, 1e-8)
