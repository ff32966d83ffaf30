"""DP-ZO against its formula, and the privacy that it states."""

from __future__ import annotations

import math

import pytest
import torch
from test_grzo import B, Lab, Net, X, Y
from zo_lab import SEED, full, step_seed

from zobench.zo import noise
from zobench.zo.methods.dp_zo import DpZo
from zobench.zo.privacy import delta_of, epsilon_spent, multiplier_for

EPS = 1e-3


def slopes(module: Net, z: dict[str, torch.Tensor]) -> torch.Tensor:
    """The slope of every example along z, from displaced copies."""
    own = {n: p.detach().clone() for n, p in module.named_parameters()}
    sides = []
    for sign in (1, -1):
        moved = {n: own[n] + sign * EPS * z[n] for n in own}
        found = torch.func.functional_call(module, moved, (X,))
        sides.append((found - Y).square().mean(dim=(1, 2)))
    return (sides[0] - sides[1]) / (2 * EPS)


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_dp_zo_is_clipped_slopes_and_noise_on_their_sum(kind: str) -> None:
    """Method ``dp-zo``; a threshold between the slopes clips some examples and not all."""
    lr, clip, sigma = 0.01, 0.3, 0.7
    lab = Lab(DpZo, epsilon=EPS, lr=lr, clip=clip, noise_multiplier=sigma, noise=kind)
    assert lab.method.card.name == "dp-zo"
    clipped = 0
    for t in range(4):
        seed = step_seed(t, 0)
        z = {
            n: noise.sample(p.shape, seed=seed, key=noise.tensor_key(n), kind="gaussian").double()
            for n, p in lab.space.tensors.items()
        }
        found = slopes(lab.module, z)
        own = noise.derive_seed("privacy", SEED, t)
        if kind == "gaussian":
            xi = float(noise.sample((1,), seed=own, key=noise.tensor_key("privacy"), kind="gaussian"))
        else:
            u = ((own >> 12) + 0.5) / 2**52
            xi = math.log(2 * u) if u < 0.5 else -math.log(2 * (1 - u))
        c = (float(found.clamp(-clip, clip).sum()) + 2 * clip * sigma * xi) / B
        expected = lab.theta - lr * c * torch.cat([z[n].reshape(-1) for n in lab.space.tensors])
        (got,) = lab.run(1)
        assert torch.allclose(got, expected, rtol=0, atol=1e-10), t
        share = float((found.abs() > clip).double().mean())
        assert lab.record.extras["clipped"] == share
        assert len(lab.record.losses) == 2 * B
        clipped += int(share * B)
    assert 0 < clipped < 4 * B
    spent = epsilon_spent(sigma, 4, 1e-5) if kind == "gaussian" else 4 / sigma
    assert lab.record.extras["privacy_epsilon"] == spent


def test_without_noise_and_clipping_it_is_mezo() -> None:
    from zobench.zo.methods.mezo import Mezo

    lab = Lab(DpZo, epsilon=EPS, lr=0.01, clip=1e9, noise_multiplier=0.0)
    other = Lab(DpZo, epsilon=EPS, lr=0.01)
    other.method = Mezo(Mezo.Config(lr=0.01, epsilon=EPS), other.space, seed=SEED)
    for one, two in zip(lab.run(4), other.run(4), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)
    assert "privacy_epsilon" not in lab.record.extras


def test_the_noise_is_of_its_own_stream_with_variance_one() -> None:
    lab = Lab(DpZo, epsilon=EPS)
    drawn = []
    for t in range(2000):
        lab.method.t = t
        drawn.append(lab.method.draw())
    values = torch.tensor(drawn, dtype=torch.float64)
    assert abs(float(values.mean())) < 5 / math.sqrt(2000)
    assert abs(float(values.var()) - 1) < 5 * math.sqrt(2 / 2000)
    directions = torch.stack([full(step_seed(t, 0)) for t in range(2000)])
    correlation = (directions * values[:, None]).mean(0).abs().max()
    assert float(correlation) < 5 / math.sqrt(2000)


def test_epsilon_is_that_of_one_gaussian_release() -> None:
    """delta(epsilon) as the integral of max(0, p - e^epsilon q) for N(mu, 1) and N(0, 1); composition by
    mu sqrt(T)."""
    x = torch.linspace(-30, 40, 2_000_001, dtype=torch.float64)
    for mu, epsilon in ((0.5, 0.3), (1.0, 4.0), (3.0, 7.0)):
        p, q = (torch.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (mu, 0.0))
        expected = float(torch.trapezoid((p - math.exp(epsilon) * q).clamp_min(0), x))
        assert delta_of(epsilon, mu) == pytest.approx(expected, rel=1e-6)
    assert delta_of(epsilon_spent(2.0, 9, 1e-5), 1.5) == pytest.approx(1e-5, rel=1e-9)
    assert epsilon_spent(2.0, 4, 1e-5) == epsilon_spent(4.0, 16, 1e-5)
    assert epsilon_spent(0.0, 1, 1e-5) == math.inf
    assert epsilon_spent(1.0, 0, 1e-5) == 0.0
    assert epsilon_spent(multiplier_for(6.0, 1000, 1e-5), 1000, 1e-5) == pytest.approx(6.0, rel=1e-9)
