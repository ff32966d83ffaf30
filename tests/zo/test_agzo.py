"""AGZO against its formula, with bases computed here from the layers' inputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zo_lab import SEED, start

from zobench.zo import Objective, build_space, noise
from zobench.zo.methods.agzo import Agzo
from zobench.zo.trajectory import replay

B, T = 3, 4


def fixed(label: str, *shape: int) -> torch.Tensor:
    return noise.sample(shape, seed=3, key=noise.tensor_key(label), kind="gaussian").double()


X, Y = fixed("x", B, T, 5), fixed("y", B, T, 2)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 2, bias=False)
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.last(torch.tanh(self.first(x)) * self.scale)


def loss(module: nn.Module, masked: bool) -> torch.Tensor:
    out = module(X, attention_mask=MASK) if masked else module(X)
    return ((out - Y).square().mean(dim=2) * (MASK if masked else 1)).mean()


class Lab:
    def __init__(self, masked: bool = False, **params: object) -> None:
        self.module = Net().double()
        for key, p in self.module.named_parameters():
            p.data.copy_(fixed(key, *p.shape) * 0.5)
        self.space = build_space("full", {}, self.module)
        self.method = Agzo(Agzo.Config(**params), self.space, seed=SEED)
        self.objective = Objective(self.module, lambda m, b: loss(m, masked))
        self.objective.set_batch(None, sequences=B, tokens=B * T)


def drawn(label: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return noise.sample(shape, seed=seed, key=noise.tensor_key(label), kind="gaussian").double()


def basis(name: str, rows: torch.Tensor, seed: int, r: int, iterations: int) -> torch.Tensor:
    omega = drawn(f"{name}/probe", (len(rows), r), noise.derive_seed("probe", seed))
    a = torch.linalg.qr(rows.T @ omega).Q
    for _ in range(iterations):
        a = torch.linalg.qr(rows.T @ (rows @ a)).Q
    return a


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("rank", "iterations"), [(1, 3), (2, 1)])
def test_agzo(masked: bool, rank: int, iterations: int) -> None:
    eps, lr = 1e-3, 0.05
    lab = Lab(masked, lr=lr, epsilon=eps, rank=rank, iterations=iterations)
    assert lab.method.card.name == "agzo"
    twin = Net().double().requires_grad_(False)
    twin.load_state_dict(lab.module.state_dict())
    for t in range(4):
        seed = noise.derive_seed(SEED, t, 0)
        hidden = torch.tanh(twin.first(X)) * twin.scale
        inputs = {"first.weight": X, "last.weight": hidden}
        delta = {}
        for n, p in twin.named_parameters():
            if n in inputs:
                rows = inputs[n][MASK.bool()] if masked else inputs[n].flatten(0, 1)
                a = basis(n, rows, seed, rank, iterations)
                delta[n] = drawn(f"{n}/left", (p.shape[0], rank), seed) @ a.T
            else:
                delta[n] = drawn(n, tuple(p.shape), seed)
        before = float(loss(twin, masked))
        home = {n: p.clone() for n, p in twin.named_parameters()}
        for n, p in twin.named_parameters():
            p.copy_(home[n] + eps * delta[n])
        slope = (float(loss(twin, masked)) - before) / eps
        for n, p in twin.named_parameters():
            p.copy_(home[n] - lr * slope * delta[n])
        record = lab.method.step(lab.objective)
        assert record.forwards == 2
        for n, p in twin.named_parameters():
            assert torch.allclose(lab.space.tensors[n], p, rtol=1e-7, atol=1e-9), (t, n)


def test_noise_lies_in_the_span_of_the_inputs() -> None:
    lab = Lab(rank=2)
    record = lab.method.step(lab.objective)
    delta = lab.method.direction.tensor("first.weight", record.seeds[0])
    rows = X.flatten(0, 1)
    inside = torch.linalg.lstsq(rows.T, delta.T).solution
    assert torch.allclose(rows.T @ inside, delta.T, atol=1e-10)


def test_a_replay_needs_the_bases_of_every_step() -> None:
    lab = Lab(lr=0.05)
    begin = lab.space.state_dict()
    records = [lab.method.step(lab.objective) for _ in range(5)]
    held = lab.method.artifacts()
    assert tuple(held["bases"].shape) == (5, 5 + 6)
    again = Lab(lr=0.05)
    again.space.load_state_dict(begin)
    given = {"seed": SEED, "start": lambda o: o.load_artifacts(held)}
    assert replay(records, again.space, type(lab.method), lab.method.config, **given) == lab.space.digest()
    with pytest.raises(ValueError, match="no stored bases of step 0"):
        replay(records, again.space, type(lab.method), lab.method.config, seed=SEED)


def test_a_resumed_run_keeps_earlier_bases() -> None:
    lab, other = Lab(lr=0.05), Lab(lr=0.05)
    for _ in range(3):
        lab.method.step(lab.objective)
    other.space.load_state_dict(lab.space.state_dict())
    other.method.load_state_dict(lab.method.state_dict())
    other.method.step(other.objective)
    assert other.method.artifacts()["bases"].shape[0] == 4


def test_a_layer_with_fewer_tokens_than_columns_has_zero_columns() -> None:
    method, _, objective = start(Agzo, "full", {}, rank=40)
    record = method.step(objective)
    a = method.direction.bases["layers.0.up.weight"]
    assert tuple(a.shape) == (8, 40)
    assert not a[:, 8:].any()
    assert record.moved
