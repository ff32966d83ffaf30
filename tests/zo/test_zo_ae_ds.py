"""ZO-AE-DS: estimates at the code of a network in front of a black box, their cost, and the chain rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from zobench.zo.code_gradient import along_directions, by_coordinate
from zobench.zo.methods.first_order import Adamw, AdamwConfig
from zobench.zo.methods.zo_ae_ds import ZoAeDs, ZoAeDsConfig
from zobench.zo.objective import CodeLoss, Meter, Objective
from zobench.zo.space import build_space

M, ROWS = 3, 4
CURVED = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
TARGET = torch.arange(ROWS * M, dtype=torch.float64).reshape(ROWS, M) / 5


class Encoder(nn.Module):
    """z = W x; another parameter, of the black box, is not tuned."""

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(M, 2, generator=draws, dtype=torch.float64))
        self.beyond = nn.Parameter(CURVED.clone())


def code(module: Any, x: torch.Tensor) -> torch.Tensor:
    return x @ module.weight.T


def queried(module: Any, x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return ((points - TARGET).square() * module.beyond).sum(-1) / 2


def loss(module: Any, x: torch.Tensor) -> torch.Tensor:
    return queried(module, x, code(module, x)[None]).mean()


def started(method: Any = ZoAeDs, config: Any = None, budget: int | None = None) -> Any:
    module = Encoder().eval()
    objective = Objective(module, loss, Meter(budget), code=CodeLoss(code, queried))
    draws = torch.Generator().manual_seed(2)
    objective.set_batch(torch.randn(ROWS, 2, generator=draws, dtype=torch.float64), sequences=ROWS, tokens=0)
    space = build_space("names", {"include": ["weight"]}, module)
    return method(config or ZoAeDsConfig(), space, seed=3), module, objective


def test_two_sided_coordinates_of_a_quadratic_are_backpropagation() -> None:
    """zo-ae-ds with cge: the same losses and weights as adamw, at 2 m + 3 forward passes instead of 3."""
    ours, module, objective = started(config=ZoAeDsConfig(lr=0.1, estimator="cge", n=M))
    theirs, other, exact = started(Adamw, AdamwConfig(lr=0.1))
    for _ in range(5):
        mine, reference = ours.step(objective), theirs.step(exact)
        assert mine.loss == pytest.approx(reference.loss, rel=1e-9)
        assert mine.forwards == ours.cost(ours.config).max_forwards_in_step == 2 * M + 3
        assert torch.allclose(module.weight, other.weight, rtol=1e-6, atol=1e-9)
    assert torch.equal(module.beyond, CURVED)


def test_one_sided_coordinates_differ_by_the_curvature() -> None:
    """g_j = l_j' + mu l_jj'' / 2."""
    z, mu = TARGET + 1, 0.1

    def query(points: torch.Tensor) -> torch.Tensor:
        return ((points - TARGET).square() * CURVED).sum(-1) / 2

    at = query(z[None])[0]
    exact = CURVED.expand(ROWS, M)
    assert torch.allclose(by_coordinate(z, at, query, mu, two_sided=True), exact)
    assert torch.allclose(by_coordinate(z, at, query, mu, two_sided=False), exact + mu * CURVED / 2)


def test_orthogonal_directions_give_the_gradient_of_a_linear_loss() -> None:
    """rge: (m / n) sum <a, u_i> u_i = a for n = m orthogonal directions of any length, each row its own."""
    slope = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], dtype=torch.float64)
    turned, _ = torch.linalg.qr(torch.randn(M, M, generator=torch.Generator().manual_seed(0)).double())
    directions = torch.stack([5 * turned, torch.eye(M, dtype=torch.float64)], dim=1)
    asked: list[int] = []

    def query(points: torch.Tensor) -> torch.Tensor:
        asked.append(len(points))
        return (points * slope).sum(-1)

    z = torch.ones(2, M, dtype=torch.float64)
    found = along_directions(z, query(z[None])[0], query, directions, 5e-3)
    assert torch.allclose(found, slope)
    assert sum(asked) == 1 + M


def test_random_directions_are_right_on_average_and_the_same_for_the_same_seed() -> None:
    def stepped(n: int, step: int = 1) -> tuple[torch.Tensor, Any]:
        method, module, objective = started(config=ZoAeDsConfig(lr=0.05, n=n, mu=1e-4))
        records = [method.step(objective) for _ in range(step)]
        assert records[0].forwards == method.cost(method.config).max_forwards_in_step == n + 3
        return module.weight.detach().clone(), records

    weights, records = stepped(20, 3)
    again, _ = stepped(20, 3)
    assert torch.equal(weights, again)
    assert records[2].loss < records[0].loss
    method, _, objective = started(config=ZoAeDsConfig(n=4000, mu=1e-4))
    _, found = method.measured(objective)
    _, exact = objective.gradient(method.space.tensors)
    error = (found["weight"] - exact["weight"]).norm() / exact["weight"].norm()
    assert error < 0.1


def test_what_does_not_fit_is_refused() -> None:
    method, _, objective = started(config=ZoAeDsConfig(estimator="cge", n=2))
    with pytest.raises(ValueError, match="the code has 3, so write n: 3, not 2"):
        method.step(objective)
    method, module, _ = started(config=ZoAeDsConfig(n=2))
    plain = Objective(module, loss, Meter())
    plain.set_batch(torch.zeros(ROWS, 2, dtype=torch.float64), sequences=ROWS, tokens=0)
    with pytest.raises(ValueError, match="no code in front of a part"):
        method.step(plain)
    with pytest.raises(ValueError, match="estimator must be"):
        ZoAeDsConfig(estimator="spsa")  # type: ignore[arg-type]


def test_a_step_continues_from_a_saved_state() -> None:
    method, module, objective = started(config=ZoAeDsConfig(lr=0.1, n=5))
    method.step(objective)
    state, weights = method.state_dict(), module.weight.detach().clone()
    expected = method.step(objective).loss, module.weight.detach().clone()
    other, fresh, again = started(config=ZoAeDsConfig(lr=0.1, n=5))
    other.load_state_dict(state)
    with torch.no_grad():
        fresh.weight.copy_(weights)
    assert other.step(again).loss == expected[0]
    assert torch.equal(fresh.weight, expected[1])
