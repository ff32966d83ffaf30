"""QES, QuZO and ZOQO on integer codes against their formulas, with losses of the dequantized layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from zo_lab import SEED, start

from zobench.plugins import lookup
from zobench.zo import Objective, build_space, noise

NAMES = ("qes", "quzo", "zoqo")
TOP = 7
STEPS = 6


class Lab:
    """One coded layer of 3 x 8 with two groups per row, and a quadratic loss of its dequantized weights."""

    def __init__(self, name: str, bits: int = 4, **params: object) -> None:
        module = nn.Sequential(nn.Linear(8, 3)).double()
        with torch.no_grad():
            drawn = noise.sample((3, 8), seed=1, key=noise.tensor_key("w"), kind="gaussian")
            module[0].weight.copy_(drawn)
        self.goal = module[0].weight.detach().flip(0).clone()
        self.space = build_space("codes", {"bits": bits, "group": 4}, module)
        self.name = next(iter(self.space))
        self.scales = module[0].scales.clone()
        cls = lookup("methods", name)
        self.method = cls(cls.Config(**params), self.space, seed=SEED)
        self.objective = Objective(module, lambda m, b: self.loss(m[0].codes))
        self.objective.set_batch(None, sequences=1, tokens=0)

    def loss(self, codes: torch.Tensor) -> torch.Tensor:
        weight = codes * self.scales.repeat_interleave(4, dim=1)
        return 0.5 * (weight - self.goal).square().sum()

    @property
    def codes(self) -> torch.Tensor:
        return self.space.entries(self.name).clone()

    def normal(self, seed: int) -> torch.Tensor:
        key = noise.tensor_key(self.name)
        return noise.sample((3, 8), seed=seed, key=key, kind="gaussian").double()

    def uniform(self, seed: int, label: str) -> torch.Tensor:
        key = noise.tensor_key(f"{self.name}/{label}")
        return noise.sample((3, 8), seed=seed, key=key, kind="uniform").double()

    def rounded(self, seed: int, sigma: float, stream: str) -> torch.Tensor:
        x = sigma * self.normal(seed)
        return x.floor() + (self.uniform(noise.derive_seed(stream, seed), stream) < x - x.floor())

    def run(self) -> list[torch.Tensor]:
        path = []
        for _ in range(STEPS):
            self.method.step(self.objective)
            path.append(self.codes)
        return path


def kept(w: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    return move * ((w + move).abs() <= TOP)


def same(path: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert all(torch.equal(got, want) for got, want in zip(path, expected, strict=True))
    assert not torch.equal(path[0], path[-1])
    assert all(bool((w == w.round()).all()) and float(w.abs().max()) <= TOP for w in path)


def fitness(gains: list[float]) -> list[float]:
    mean = sum(gains) / len(gains)
    std = math.sqrt(sum((g - mean) ** 2 for g in gains) / len(gains))
    return [min(max((g - mean) / (std + 1e-8), -3), 3) for g in gains]


@pytest.mark.parametrize("residual", ["stored", "replayed"])
def test_qes(residual: str) -> None:
    sigma, lr, gamma, pairs, horizon = 0.8, 0.04, 0.9, 3, 2
    lab = Lab("qes", lr=lr, sigma=sigma, population=6, decay=gamma, residual=residual, horizon=horizon)
    w, expected, past = lab.codes, [], []
    e = (lab.uniform(noise.derive_seed(SEED, "residual"), "residual") - 0.5).half().double()

    def proposal(w, e, us, f):
        g = sum(f * (kept(w, u) - kept(w, -u)) for f, u in zip(f, us, strict=True)) / sigma
        return lr * g + gamma * e

    for t in range(STEPS):
        us = [lab.rounded(noise.derive_seed(SEED, t, i), sigma, "rounding") for i in range(pairs)]
        gains = [float(lab.loss(w + kept(w, -u)) - lab.loss(w + kept(w, u))) for u in us]
        f = fitness(gains)
        if residual == "replayed":
            e = torch.zeros_like(w)
            for old in past:
                x = proposal(w, e, *old)
                e = (x - kept(w, x.round())).clamp(-1.5, 1.5)
        x = proposal(w, e, us, f)
        delta = kept(w, x.round())
        past = [*past, (us, f)][-horizon:]
        e = (x - delta).clamp(-1.5, 1.5).half().double()
        w = w + delta
        expected.append(w)
    same(lab.run(), expected)


@pytest.mark.parametrize("n", [1, 2])
def test_quzo(n: int) -> None:
    sigma, lr = 0.7, 0.3
    lab = Lab("quzo", lr=lr, sigma=sigma, n=n)
    w, expected = lab.codes, []
    for t in range(STEPS):
        begin = w
        for i in range(n):
            seed = noise.derive_seed(SEED, t, i)
            u, v = (lab.rounded(seed, sigma, stream) for stream in ("rounding", "second-rounding"))
            mu = float(lab.loss(begin + kept(begin, u)) - lab.loss(begin + kept(begin, -u))) / (2 * sigma)
            x = -lr * mu * v / (sigma * n)
            move = x.floor() + (lab.uniform(noise.derive_seed("step", seed), "step") < x - x.floor())
            w = w + kept(w, move)
        expected.append(w)
    same(lab.run(), expected)


def test_the_two_roundings_of_quzo_are_independent() -> None:
    """E[u v^T] has the diagonal sigma^2; one rounding alone has its variance on top."""
    lab = Lab("quzo", sigma=0.4)
    method = lab.method
    first, second = [], []
    for i in range(600):
        seed = noise.derive_seed("draw", i)
        first.append(method.direction.rounded(lab.name, seed))
        second.append(method.second.rounded(lab.name, seed))
    u, v = torch.stack(first), torch.stack(second)
    assert float((u * v).mean()) == pytest.approx(0.16, abs=0.02)
    assert float((u * u).mean()) > 0.28


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_zoqo(share: float) -> None:
    epsilon, lr = 1.0, 0.7
    lab = Lab("zoqo", lr=lr, epsilon=epsilon, share=share)
    step = lab.scales.repeat_interleave(4, dim=1)
    m, k = ((x / step).floor().clamp_min(1) for x in (epsilon, lr))
    w, expected = lab.codes, []
    for t in range(STEPS):
        seed = noise.derive_seed(SEED, t, 0)
        u = (lab.uniform(seed, "levels") * (2 * m + 1)).floor() - m
        if share < 1:
            u = u * (lab.uniform(noise.derive_seed("kept", seed), "kept") < share)
        plus, minus = (lab.loss((w + sign * u).clamp(-TOP, TOP)) for sign in (1, -1))
        w = (w - k * torch.sign(plus - minus) * u.sign()).clamp(-TOP, TOP)
        expected.append(w)
    same(lab.run(), expected)
    assert int(m.max()) > 1


def test_the_record_of_a_zoqo_step_is_a_sign() -> None:
    lab = Lab("zoqo")
    signs = {lab.method.step(lab.objective).coefficients for _ in range(8)}
    assert signs <= {(1.0,), (-1.0,), (0.0,)}
    assert len(signs) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_coded_layer_computes_with_the_rounded_weights(name: str) -> None:
    lab = Lab(name, bits=8)
    x = torch.linspace(-1, 1, 8, dtype=torch.float64)[None]
    layer = lab.space.module[0]
    expected = nn.functional.linear(x, lab.codes * layer.step(), layer.bias)
    assert torch.allclose(layer(x), expected, atol=1e-15)
    assert lab.space.top == 127
    assert torch.equal(lab.codes, lab.codes.round())


@pytest.mark.parametrize(
    ("name", "bits", "params"),
    [
        ("qes", 4, {}),
        ("qes", 8, {}),
        ("quzo", 4, {"lr": 0.1}),
        ("quzo", 8, {"lr": 10.0}),
        ("zoqo", 4, {}),
        ("zoqo", 8, {}),
    ],
)
def test_they_lower_the_loss_of_a_transformer(name: str, bits: int, params: dict) -> None:
    """One level of 8 bits is a sixteenth of one of 4 bits, so that QuZO's rate has to be larger."""
    small = dict(lookup("methods", name).small_problem)
    method, space, objective = start(name, "codes", {"bits": bits, "group": 8}, **{**small, **params})
    before = objective.loss()
    for _ in range(60):
        method.step(objective)
    assert objective.loss() < 0.97 * before
    space.remove()


def test_the_residual_survives_a_checkpoint_and_is_float16() -> None:
    lab = Lab("qes", sigma=0.8, lr=0.04, population=6)
    lab.run()
    state = lab.method.state_dict()
    assert state[f"residual/{lab.name}"].dtype == torch.float16
    other = Lab("qes", sigma=0.8, lr=0.04, population=6)
    other.space.load_state_dict(lab.space.state_dict())
    other.method.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(lab.run(), other.run(), strict=True))


def test_another_space_is_refused() -> None:
    with pytest.raises(ValueError, match="supports the spaces codes, not 'full'"):
        start("qes", "full", {})
