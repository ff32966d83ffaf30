"""Methods with a history or a second oracle against their definitions on the 17-entry quadratic, in
float64."""

from __future__ import annotations

import math

import pytest
import torch
from zo_lab import SEED, H, Lab, T, draw, full, loss, slope, step_seed

from zobench.zo import noise
from zobench.zo.methods.kerzoo import kernel
from zobench.zo.methods.mixed import split_by_length

STEPS = 6


def close(lab: Lab, theta: torch.Tensor, step: int) -> None:
    assert torch.allclose(lab.theta, theta, rtol=1e-8, atol=1e-11), f"step {step}"


def test_conmezo() -> None:
    lr, beta, angle = 0.01, 0.9, 1.2
    lab = Lab("conmezo", lr=lr, angle=angle, beta=beta, warmup_beta=0.1, warmup_start=2, warmup_end=4)
    seed = noise.derive_seed(SEED, "first-momentum")
    shapes = {"matrix": (3, 4), "vector": (5,)}
    m = torch.cat([draw(f"{k}/first-momentum", shape, seed).reshape(-1) for k, shape in shapes.items()])
    theta = lab.theta
    for t in range(STEPS):
        b = (0.1, 0.1, 0.1, 0.9 - 0.8 / (1 + 8 * 0.5**1.8) ** 3, 0.9, 0.9)[t]
        u = full(step_seed(t, 0))
        z = math.cos(angle) * math.sqrt(17) * m / m.norm() + math.sin(angle) * u
        c = slope(theta, z, 1e-3)
        theta = theta - lr * c * z
        m = b * m + (1 - b) * c * z
        lab.method.step(lab.objective)
        close(lab, theta, t)


@pytest.mark.parametrize(("t", "beta"), [(199, 0.1), (200, 0.1), (500, 0.60), (1000, 0.95), (2000, 0.99)])
def test_conmezo_warms_up_by_the_authors_curve(t: int, beta: float) -> None:
    method = Lab("conmezo").method
    method.t = t
    assert method.decay() == pytest.approx(beta, abs=0.005)


@pytest.mark.parametrize("q", [2, 3])
def test_mezo_svrg(q: int) -> None:
    """The objective alternates between two minibatches (targets), so that the control variate has work."""
    lab = Lab("mezo-svrg", lr=0.01, anchor_factor=3.0, q=q)
    targets = [T, T + 0.7]
    now = {"target": T}
    lab.objective._loss = lambda module, batch: 0.5 * (H * (lab_theta(module) - now["target"]) ** 2).sum()

    def g(theta: torch.Tensor, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        f = [0.5 * (H * (theta + s * 1e-3 * z - target) ** 2).sum() for s in (1, -1)]
        return (f[0] - f[1]) / 2e-3 * z

    theta = lab.theta
    for t in range(2 * STEPS):
        now["target"] = targets[t % 2]
        z = full(step_seed(t, 0))
        if t % q == 0:
            anchor, g_anchor = theta, g(theta, z, now["target"])
            theta = theta - 0.03 * g_anchor
        else:
            theta = theta - 0.01 * (g(theta, z, now["target"]) - g(anchor, z, now["target"]) + g_anchor)
        record = lab.method.step(lab.objective)
        assert record.forwards == (2 if t % q == 0 else 4)
        close(lab, theta, t)


def lab_theta(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.reshape(-1) for p in module.parameters()])


def test_mezo_svrg_anchor_is_a_copy() -> None:
    lab = Lab("mezo-svrg", lr=0.01, q=4)
    start = lab.theta
    for _ in range(3):
        lab.method.step(lab.objective)
    anchor = torch.cat([t.reshape(-1) for t in lab.method.anchor.values()])
    assert torch.equal(anchor, start)
    assert not torch.equal(lab.theta, start)
    live = {p.data_ptr() for p in lab.space.tensors.values()}
    assert not live & {t.data_ptr() for t in lab.method.anchor.values()}


def test_mezo_svrg_anchor_over_several_minibatches() -> None:
    lab = Lab("mezo-svrg", lr=0.01, anchor_factor=2.0, q=2, anchor_batches=3)
    targets = [T, T + 1, T - 2]
    lab.objective._loss = lambda module, target: 0.5 * (H * (lab_theta(module) - target) ** 2).sum()
    lab.objective.set_batch(T, sequences=1, tokens=0)
    with pytest.raises(ValueError, match="use_anchor_batches"):
        lab.method.step(lab.objective)
    with pytest.raises(ValueError, match="3 anchor batches"):
        lab.method.use_anchor_batches([(T, 1, 0)])
    lab.method.use_anchor_batches([(target, 1, 0) for target in targets])
    theta, z = lab.theta, full(step_seed(0, 0))
    mean = sum(H * (theta - target) for target in targets) / 3
    record = lab.method.step(lab.objective)
    assert record.forwards == 6
    assert lab.objective.batch is T
    close(lab, theta - 0.02 * float(mean @ z) * z, 0)


@pytest.mark.parametrize("remembers", ["signed", "plain"])
def test_zo_adamu(remembers: str) -> None:
    lr, steps, warmup = 0.01, 12, 2
    lab = Lab("zo-adamu", lr=lr, steps=steps, warmup=warmup, late=0.75, remembers=remembers)
    signs = set()
    theta, m = lab.theta, torch.zeros(17, dtype=torch.float64)
    for t in range(steps):
        phase = (t - warmup) / (steps - warmup)
        alpha, b1, b2 = (
            1.0 if t < warmup else 0.9 if t >= 9 else 0.5 + 0.5 * math.cos(math.pi / 2 * phi * phase)
            for phi in (1.0, 0.1, 1.5)
        )
        seed = step_seed(t, 0)
        z1 = math.sqrt(alpha) * full(seed)
        z2 = m + math.sqrt(1 - alpha) * full(noise.derive_seed("around-momentum", seed))
        m = b1 * z1 + (1 - b1) * z2
        v = b2 * z1**2 + (1 - b2) * z2**2
        c = slope(theta, m, 1e-3)
        theta = theta - lr * c * m / (v + 1e-8).sqrt()
        signs.add(math.copysign(1, c))
        m = math.copysign(1, c) * m if remembers == "signed" else m
        lab.method.step(lab.objective)
        close(lab, theta, t)
    assert signs == {-1.0, 1.0}


def test_zo_adamu_measures_the_momentum_it_applies() -> None:
    lab = Lab("zo-adamu", lr=0.01, steps=10, warmup=1, remembers="plain")
    seen: list[torch.Tensor] = []
    honest = lab.objective._loss
    lab.objective._loss = lambda module, batch: (seen.append(lab.theta), honest(module, batch))[1]
    for _ in range(8):
        seen.clear()
        before = lab.theta
        lab.method.step(lab.objective)
        applied = torch.cat([t.reshape(-1) for t in lab.method.direction.mean.values()])
        assert torch.allclose((seen[0] - before) / 1e-3, applied, rtol=1e-7, atol=1e-9)


def test_kerzoo() -> None:
    lab = Lab("kerzoo", lr=0.01, n=2, epsilon=0.1)
    theta = lab.theta
    for t in range(STEPS):
        seed = noise.derive_seed(SEED, t, "radius")
        radii = noise.sample((2,), seed=seed, key=noise.tensor_key("radius"), kind="uniform").double() * 2 - 1
        g = torch.zeros(17, dtype=torch.float64)
        for i, r in enumerate(radii.tolist()):
            u = full(step_seed(t, i))
            difference = loss(theta + 0.1 * r * u) - loss(theta - 0.1 * r * u)
            g += 3.75 * r * (5 - 7 * r**2) * difference / 0.2 * u / 2
        theta = theta - 0.01 * g
        lab.method.step(lab.objective)
        close(lab, theta, t)


def test_the_kernel_is_unbiased_and_kills_the_cubic_term() -> None:
    r = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 100_000 - 1
    k = torch.tensor([1.0]) * 3.75 * r * (5 - 7 * r**2)
    assert [kernel(float(x)) for x in r[::50_000]] == pytest.approx(k[::50_000].tolist())
    assert float((r * k).mean()) == pytest.approx(1.0, abs=1e-6)
    assert float((r**3 * k).mean()) == pytest.approx(0.0, abs=1e-6)
    assert float((r * k).square().mean()) == pytest.approx(6.25, abs=1e-4)


def test_addax_mixes_both_on_the_whole_minibatch() -> None:
    lab = Lab("addax", lr=0.05, alpha=0.3)
    theta = lab.theta
    for t in range(STEPS):
        z = full(step_seed(t, 0))
        theta = theta - 0.05 * (0.3 * slope(theta, z, 1e-3) * z + 0.7 * H * (theta - T))
        assert lab.method.step(lab.objective).forwards == 5
        close(lab, theta, t)


def test_addax_divides_by_length() -> None:
    """The long part (another target) is seen by the estimate only, the short part by the gradient only."""
    lab = Lab("addax", lr=0.05, alpha=0.3)
    lab.objective._loss = lambda module, target: 0.5 * (H * (lab_theta(module) - target) ** 2).sum()
    parts = {0: (T + 1, T), 1: (T + 1, None), 2: (None, T)}
    lab.method.divide_by(lambda batch: tuple(None if x is None else (x, 1, 0) for x in parts[batch]))
    theta = lab.theta
    for t in range(3):
        long, short = parts[t]
        z, step = full(step_seed(t, 0)), torch.zeros(17, dtype=torch.float64)
        if long is not None:
            step += 0.3 * float(H * (theta - long) @ z) * z
        if short is not None:
            step += 0.7 * H * (theta - short)
        theta = theta - 0.05 * step
        lab.objective.set_batch(t, sequences=2, tokens=0)
        record = lab.method.step(lab.objective)
        assert record.forwards == (5, 2, 3)[t]
        close(lab, theta, t)


def test_split_by_length() -> None:
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 0]])
    batch = {"input_ids": torch.arange(12).reshape(3, 4), "attention_mask": mask}
    long, short = split_by_length(2)(batch)
    assert long[1:] == (2, 7)
    assert short[1:] == (1, 2)
    assert torch.equal(long[0]["input_ids"], batch["input_ids"][[0, 2]])
    assert split_by_length(9)(batch)[0] is None


def test_hybrid_moves_each_part_by_its_own_oracle() -> None:
    lab = Lab("zo-fo-hybrid", lr=0.05, first_order_factor=2.0)
    theta = lab.theta
    first = torch.arange(17) >= 12
    for t in range(STEPS):
        z = torch.where(first, torch.zeros(17, dtype=torch.float64), full(step_seed(t, 0)))
        g = torch.where(first, 2.0 * H * (theta - T), slope(theta, z, 1e-3) * z)
        theta = theta - 0.05 * g
        lab.method.step(lab.objective)
        close(lab, theta, t)


@pytest.mark.parametrize("name", ["addax", "zo-fo-hybrid"])
def test_mixed_methods_refuse_a_gradient_that_is_not_finite(name: str) -> None:
    lab = Lab(name, lr=0.05)
    lab.objective._loss = lambda module, batch: module.vector.sum() * 0 + torch.sqrt(module.vector[0] * 0)
    before = lab.theta
    record = lab.method.step(lab.objective)
    assert not record.moved
    assert record.reason
    assert torch.equal(lab.theta, before)
