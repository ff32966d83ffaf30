"""A tie (equal losses, slope 0) is a valid estimate: momentum, moments and decay move by their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from zo_lab import Lab, full, loss, step_seed

from zobench.zo import Objective
from zobench.zo.base import StepRecord

EPS, STEPS, LR = 0.02, 30, 0.02
GRID = 0.2


def coarse(theta: np.ndarray) -> float:
    """The loss on a coarse grid, as an accuracy or a half-precision loss is."""
    return round(loss(torch.from_numpy(theta)) / GRID) * GRID


def run(name: str, **params: float) -> tuple[list[np.ndarray], list[StepRecord]]:
    lab = Lab(name, lr=LR, epsilon=EPS, **params)
    lab.objective = Objective(
        lab.module, lambda module, batch: coarse(lab.theta.numpy().copy()), differentiable=False
    )
    lab.objective.set_batch(None, sequences=1, tokens=0)
    path, records = [lab.theta.numpy()], []
    for _ in range(STEPS):
        records.append(lab.method.step(lab.objective))
        path.append(lab.theta.numpy())
    return path, records


def momentum() -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    m = np.zeros(17)

    def step(theta: np.ndarray, g: np.ndarray, t: int) -> np.ndarray:
        nonlocal m
        m = 0.9 * m + g
        return theta - LR * m

    return step


def adam() -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    m, v = np.zeros(17), np.zeros(17)

    def step(theta: np.ndarray, g: np.ndarray, t: int) -> np.ndarray:
        nonlocal m, v
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        return theta - LR * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-3)

    return step


def decayed() -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    return lambda theta, g, t: theta - LR * (g + 0.5 * theta)


CASES = {
    "zo-sgd-momentum": (momentum, {"momentum": 0.9}),
    "zo-adam": (adam, {"beta1": 0.9, "beta2": 0.99, "delta": 1e-3}),
    "mezo": (decayed, {"weight_decay": 0.5, "decay_rule": "all"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_tie_moves_what_the_formula_moves(name: str) -> None:
    make, params = CASES[name]
    step, (path, records) = make(), run(name, **params)
    theta, ties = path[0], 0
    for t in range(STEPS):
        z = full(step_seed(t, 0)).numpy()
        slope = (coarse(theta + EPS * z) - coarse(theta - EPS * z)) / (2 * EPS)
        ties += slope == 0.0
        theta = step(theta, slope * z, t + 1)
        assert np.allclose(path[t + 1], theta, rtol=0, atol=1e-10), f"step {t}"
    assert 3 < ties < STEPS
    assert sum(r.extras.get("ties", 0) for r in records) == ties
    assert all(r.moved for r in records)


@pytest.mark.parametrize("name", ["fzoo", "es", "zo-ranksgd"])
def test_a_rule_that_divides_by_zero_is_refused(name: str) -> None:
    lab = Lab(name)
    lab.objective = Objective(lab.module, lambda module, batch: 1.0, differentiable=False)
    lab.objective.set_batch(None, sequences=1, tokens=0)
    before, record = lab.theta, lab.method.step(lab.objective)
    assert not record.moved
    assert record.reason
    assert "ties" not in record.extras
    assert torch.equal(before, lab.theta)
