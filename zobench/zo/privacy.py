"""Privacy that a sequence of noised scalars spends: (epsilon, delta), without amplification by sampling.

A step releases sum_i clip(s_i) + sigma 2C N(0, 1), where s_i belongs to example i and |clip(s_i)| <= C.
Replacing one example changes the sum by at most 2C. T such steps, each of which may see the example once and
may depend on earlier releases, are together as private as one Gaussian release with sensitivity mu =
sqrt(T) / sigma in units of its noise (arXiv 1905.02383), whose exact trade-off is (arXiv 1805.06530)

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)

This holds for every order of the examples in which a minibatch has none twice. Accountants that assume
Poisson sampling state a smaller epsilon, which does not hold for minibatches dealt from a permutation.
"""

from __future__ import annotations

import math

import torch

_ROUNDS = 200
"""Halvings of an interval; float64 is exhausted before."""


def delta_of(epsilon: float, mu: float) -> float:
    """The smallest delta at this epsilon for one Gaussian release of sensitivity ``mu`` > 0."""
    ends = torch.tensor([mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu], dtype=torch.float64)
    first, second = torch.special.log_ndtr(ends).tolist()
    return math.exp(first) - math.exp(epsilon + second)


def epsilon_spent(noise_multiplier: float, steps: int, delta: float) -> float:
    """The epsilon of ``steps`` Gaussian releases; infinite without noise.

    Args:
        noise_multiplier: sigma, standard deviation of the noise in units of the sensitivity 2C.
        steps: number of releases that may have seen the same example.
        delta: in (0, 1).
    """
    if steps == 0:
        return 0.0
    if noise_multiplier == 0.0:
        return math.inf
    mu = math.sqrt(steps) / noise_multiplier
    high = 1.0
    while delta_of(high, mu) > delta:
        high *= 2
    low = 0.0
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(middle, mu) > delta else (low, middle)
    return high


def multiplier_for(epsilon: float, steps: int, delta: float) -> float:
    """The smallest noise multiplier with which ``steps`` releases spend at most ``epsilon`` at ``delta``."""
    low, high = 0.0, 1.0
    while epsilon_spent(high, steps, delta) > epsilon:
        high *= 2
    for _ in range(_ROUNDS // 2):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_spent(middle, steps, delta) > epsilon else (low, middle)
    return high
