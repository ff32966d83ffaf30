"""GRZO against its formula, with a weight of its own for every example."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zo_lab import SEED, Steps, start

from zobench.zo import Objective, build_space, noise
from zobench.zo.methods.grzo import Grzo

B, T = 5, 3


class Net(nn.Module):
    """Linear, norm, linear without bias; rows are examples of three positions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.norm(self.first(x))))


def fixed(label: str, *shape: int) -> torch.Tensor:
    return noise.sample(shape, seed=3, key=noise.tensor_key(label), kind="gaussian").double()


X, Y = fixed("x", B, T, 4), fixed("y", B, T, 2)


def items(module: nn.Module, batch: object) -> torch.Tensor:
    return (module(X) - Y).square().mean(dim=(1, 2))


class Lab(Steps):
    def __init__(self, method: type = Grzo, **params: object) -> None:
        self.module = Net().double()
        for key, p in self.module.named_parameters():
            p.data.copy_(fixed(key, *p.shape) * 0.5)
        self.space = build_space("full", {}, self.module)
        self.method = method(method.Config(**params), self.space, seed=SEED)
        self.objective = Objective(self.module, lambda m, b: items(m, b).mean(), items=items)
        self.objective.set_batch(None, sequences=B, tokens=B * T)


def drawn(label: str, shape: tuple[int, ...], seed: int, kind: str = "gaussian") -> torch.Tensor:
    return noise.sample(shape, seed=seed, key=noise.tensor_key(label), kind=kind).double()


def directions(seed: int) -> list[dict[str, torch.Tensor]]:
    """Delta of every example and tensor, from the definition."""
    found = []
    for i in range(B):
        own = noise.derive_seed("example", seed, i)
        one = {name: drawn(name, (6,), seed, "rademacher") for name in ("norm.weight", "norm.bias")}
        for name, (o, n) in {"first.weight": (6, 4), "last.weight": (2, 6)}.items():
            r = drawn(f"{name}/rows", (o,), own, "rademacher")
            s = drawn(f"{name}/columns", (n,), own, "rademacher")
            one[name] = drawn(name, (o, n), seed) * torch.outer(r, s)
            if name == "first.weight":
                one["first.bias"] = drawn("first.bias", (6,), seed) * r
        found.append(one)
    return found


@pytest.mark.parametrize("coefficients", ["scaled", "plain"])
def test_grzo(coefficients: str) -> None:
    sigma, lr = 1e-2, 0.02
    lab = Lab(lr=lr, sigma=sigma, coefficients=coefficients)
    assert lab.method.card.name == "grzo"
    twin = Net().double()
    twin.load_state_dict(lab.module.state_dict())
    for t in range(4):
        deltas = directions(noise.derive_seed(SEED, t, 0))
        home = {n: p.detach().clone() for n, p in twin.named_parameters()}
        e = []
        for i in range(B):
            sides = []
            for sign in (1, -1):
                for n, p in twin.named_parameters():
                    p.data.copy_(home[n] + sign * sigma * deltas[i][n])
                sides.append(float(items(twin, None)[i].detach()))
            e.append((sides[0] - sides[1]) / 2)
        values = torch.tensor(e, dtype=torch.float64)
        scale = 2 * sigma * B * float(values.std(unbiased=False)) if coefficients == "scaled" else sigma * B
        for n, p in twin.named_parameters():
            p.data.copy_(home[n] - lr * sum(values[i] * deltas[i][n] for i in range(B)) / scale)
        record = lab.method.step(lab.objective)
        assert record.forwards == 2
        assert len(record.losses) == 2 * B
        for n, p in twin.named_parameters():
            assert torch.allclose(lab.space.tensors[n], p, rtol=1e-8, atol=1e-10), (t, n)


def test_one_product_is_the_sum_over_examples() -> None:
    lab = Lab(lr=0.0)
    record, direction = lab.method.step(lab.objective), lab.method.direction
    seeds, coefficients = record.seeds, record.coefficients
    for name in lab.space:
        apart = sum(a * direction.tensor(name, s) for a, s in zip(coefficients, seeds, strict=True))
        assert torch.allclose(direction.combined(name, seeds, coefficients), apart, atol=1e-12)


def test_a_tied_head_is_not_flipped() -> None:
    method, space, _ = start(Grzo, "full", {})
    assert "embedding.weight" in space
    assert "embedding.weight" not in method.direction.layers
    assert "layers.0.attention.q_proj.weight" in method.direction.layers


def test_rows_that_are_not_examples_are_refused() -> None:
    lab = Lab()
    lab.objective._items = lambda m, b: items(m, b)[:2]
    with pytest.raises(ValueError, match="5 rows for 2 losses"):
        lab.method.step(lab.objective)


def test_equal_differences_are_refused() -> None:
    lab = Lab()
    lab.objective._items = lambda m, b: items(m, b) * 0 + 1
    record = lab.method.step(lab.objective)
    assert not record.moved
    assert record.reason == "zero spread of the losses"
