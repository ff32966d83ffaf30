"""AdaMeZO and BSZO against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from zo_lab import Lab, loss, same, slope

from zobench.zo.methods.helene import Helene


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("b2", [0.9, 0.0])
def test_adamezo(form: str, b2: float) -> None:
    h, lr, b1, delta, rate = 3, 1e-4 if form == "code" else 1e-2, 0.7, 1e-3, 0.1
    lab = Lab(
        "adamezo",
        lr=lr,
        window=h,
        beta1=b1,
        beta2=b2,
        delta=delta,
        form=form,
        weight_decay=rate,
        decay_rule="all",
    )
    theta, expected, past = lab.theta, [], []
    for t in range(8):
        u = lab.u(t, 0)
        c = slope(theta, u, 1e-3)
        past = [(c, u), *past][:h]
        if t <= h:
            step = c * u
        else:
            m = sum(b1**j * c * u for j, (c, u) in enumerate(past))
            v = sum(b2**j * c**2 * u**2 for j, (c, u) in enumerate(past))
            if b2 == 0.0:
                v = torch.ones_like(v)
            if form == "code":
                step = 100 * m / (v.sqrt() + delta)
            else:
                step = (1 - b1) * m / ((1 - b2) * v + delta).sqrt()
        theta = theta - lr * (step + rate * theta)
        expected.append(theta)
    same(lab.run(8), expected)


@pytest.mark.parametrize("window", [0, 1])
def test_adamezo_without_a_window_is_mezo_to_the_bit(window: int) -> None:
    ours, mezo = Lab("adamezo", lr=0.01, window=window), Lab("mezo", lr=0.01)
    assert all(torch.equal(a, b) for a, b in zip(ours.run(6), mezo.run(6), strict=True))


def test_a_refused_step_does_not_enter_the_window() -> None:
    lab = Lab("adamezo", lr=1e-4, window=2)
    lab.run(3)
    held = list(lab.method.window)
    lab.objective._loss = lambda module, batch: torch.tensor(math.nan)
    assert not lab.method.step(lab.objective).moved
    assert lab.method.window == held


@pytest.mark.parametrize("sides", ["one", "two"])
@pytest.mark.parametrize("repeats", ["reuse", "remeasure"])
@pytest.mark.parametrize(("k", "m"), [(2, 3), (3, 2), (2, 6)])
def test_bszo(sides: str, repeats: str, k: int, m: int) -> None:
    """With a full covariance matrix and its eigenvectors, as published."""
    eps, lr, sp, se = 1e-2, 0.01, 1.5, 0.8
    lab = Lab(
        "bszo", lr=lr, epsilon=eps, k=k, m=m, sides=sides, repeats=repeats, prior=sp, noise=se, memory=0.6
    )
    theta, expected, s2, queried = lab.theta, [], se**2, 0
    eye = torch.eye(k, dtype=torch.float64)
    for t in range(5):
        z = torch.stack([lab.u(t, i) for i in range(k)], dim=1)
        mu, cov = torch.zeros(k, dtype=torch.float64), sp**2 * eye
        old: dict[int, float] = {}
        queried += 1
        for j in range(m):
            d = eye[j] if j < k else torch.linalg.eigh(cov).eigenvectors[:, -1].abs().round()
            axis = int(d.argmax())
            if axis not in old or repeats == "remeasure":
                point = z @ d
                one = (loss(theta + eps * point) - loss(theta)) / eps
                old[axis] = one if sides == "one" else slope(theta, point, eps)
                queried += 1 if sides == "one" else 2
            y = old[axis]
            residual = y - float(d @ mu)
            s2 = 0.6 * s2 + 0.4 * residual**2
            noise = max(0.1 * se, math.sqrt(s2))
            gain = cov @ d / (float(d @ cov @ d) + noise**2)
            mu = mu + gain * residual
            cov = cov - torch.outer(gain, d @ cov)
            cov = (cov + cov.T) / 2 + 1e-10 * eye
        theta = theta - lr * z @ mu
        expected.append(theta)
    same(lab.run(5), expected, 1e-8)
    assert lab.objective.meter.forwards == queried


def test_bszo_shrinks_the_first_observation_by_half_where_noise_equals_prior() -> None:
    lab = Lab("bszo", lr=0.01, k=1, m=1, prior=1.0, noise=1.0, memory=0.99999999, epsilon=1e-2)
    theta, u = lab.theta, lab.u(0, 0)
    y = (loss(theta + 1e-2 * u) - loss(theta)) / 1e-2
    record = lab.method.step(lab.objective)
    assert record.coefficients[0] == pytest.approx(y / 2, rel=1e-4)


def test_a_step_with_an_infinite_loss_leaves_the_noise_estimate() -> None:
    lab = Lab("bszo", lr=0.01)
    lab.run(2)
    before = lab.method.s2
    lab.objective._loss = lambda module, batch: torch.tensor(math.inf)
    assert lab.method.step(lab.objective).reason == "non-finite loss"
    assert lab.method.s2 == before


@pytest.mark.parametrize("every", [1, 3])
def test_helene(every: int) -> None:
    lr, b1, b2, gamma, floor, anneal, delta, rate = 0.02, 0.8, 0.7, 0.5, 2.0, 4, 1e-6, 0.1
    lab = Lab(
        Helene,
        lr=lr,
        beta1=b1,
        beta2=b2,
        gamma=gamma,
        floor=floor,
        every=every,
        anneal=anneal,
        delta=delta,
        weight_decay=rate,
        decay_rule="all",
    )
    assert lab.method.card.name == "helene"
    floors = torch.cat([torch.full((12,), math.sqrt(8.5 / 12)), torch.full((5,), math.sqrt(8.5 / 5))])
    theta, expected = lab.theta, []
    m, h = torch.zeros_like(theta), torch.zeros_like(theta)
    for t in range(7):
        u = lab.u(t, 0)
        g = slope(theta, u, 1e-3) * u
        m = b1 * m + (b1 + (1 - b1) * math.exp(-t / anneal)) * g
        if t % every == 0:
            h = b2 * h + (1 - b2) * g**2
        step = m / (gamma * torch.maximum(h, floor * floors.double()) + delta)
        theta = theta - lr * (step + rate * theta)
        expected.append(theta)
    same(lab.run(7), expected, 1e-6)
