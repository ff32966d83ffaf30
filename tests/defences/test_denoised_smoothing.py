"""Denoised smoothing: estimates at the encoder's output, training by queries only, certificates on digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zobench.defences.certificates import certificate, certified_accuracy
from zobench.defences.denoised_smoothing import DenoisedSmoothing, DenoiserConfig, latent_gradient, votes


def test_estimates_approach_the_gradient():
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    z = torch.tensor([[0.3, 0.1, -0.4], [1.0, 2.0, 3.0]], dtype=torch.float64)
    truth = weights + 2 * z
    loss = lambda x: x @ weights + (x**2).sum(1)  # noqa: E731
    draws = torch.Generator().manual_seed(0)
    coordinate = latent_gradient(loss, z, DenoiserConfig(estimator="cge", mu=1e-6), draws)
    assert torch.allclose(coordinate, truth, atol=1e-5)
    many = DenoiserConfig(estimator="rge", mu=1e-6, queries=40_000)
    random = latent_gradient(loss, z, many, draws)
    assert torch.allclose(random, truth, rtol=0.05, atol=0.1)
    with pytest.raises(ValueError, match="did you mean 'rge'"):
        DenoiserConfig(estimator="rgb")


@pytest.fixture(scope="module")
def digits():
    """A brittle black box (a small network) on scikit-learn's digits, scaled to [0, 1]; all rows."""
    import warnings

    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPClassifier((64,), max_iter=100, random_state=0).fit(x[:1200], y[:1200])
    (w, v), (b, c) = (
        [torch.tensor(t, dtype=torch.float32) for t in p] for p in (model.coefs_, model.intercepts_)
    )

    def scores(rows):
        assert not torch.is_grad_enabled(), "a black box gives no gradient"
        return torch.relu(rows @ w + b) @ v + c

    return scores, torch.tensor(x, dtype=torch.float32), torch.tensor(y)


@pytest.mark.parametrize("estimator", ["cge", pytest.param("rge", marks=pytest.mark.slow)])
def test_queries_certify_more_digits_than_reconstruction_alone(digits, estimator):
    scores, x, y = digits
    sigma, rows = 0.5, slice(1200, 1320)
    config = DenoiserConfig(estimator=estimator, sigma=sigma, steps=400, lr=3e-3)
    state = torch.get_rng_state()
    smoothed = DenoisedSmoothing(scores, 64, config).rebuild(x[:1200])
    assert smoothed.queries == 0

    def certified(box):
        draws = torch.Generator().manual_seed(0)
        counts = [votes(box, row, sigma=sigma, classes=10, n0=20, n=200, draws=draws) for row in x[rows]]
        found = [certificate(first, rest, sigma=sigma, alpha=0.01) for first, rest in counts]
        return certified_accuracy(found, y[rows].tolist(), [0.0, 0.25])

    bare, rebuilt = certified(scores), certified(smoothed)
    tuned = certified(smoothed.tune(x[:1200], y[:1200]))
    assert smoothed.queries == 400 * 64 * 17
    assert torch.equal(state, torch.get_rng_state())
    assert (tuned > rebuilt).all()
    assert (tuned > bare).all()
